"""Judges what was seen of a cluster."""

from collections.abc import Iterator, Mapping, Sequence

from doctor.cluster_facts import Clock, ClusterFacts, OpenTransaction, TopicFacts
from doctor.finding import Finding, ok, problem, skipped, warning
from libs.events.topics import ALL_TOPICS, DEAD_LETTERS_REPLAYED
from libs.runtime.topics.rules import TopicSettings, differences

TOPICS = (*ALL_TOPICS, DEAD_LETTERS_REPLAYED)
INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state")

# A difference of this much is more than an answer takes on its way.
_CLOCKS_DIFFER_S = 2.0

# Request, its key, the version that is needed, since when Kafka has it, and what fails without it.
_NEEDED = (
    ("TxnOffsetCommit", 28, 3, "2.5", "the services do not start"),
    ("OffsetFetch", 9, 7, "2.5", "the services do not start"),
)
_WANTED = (
    (
        "ListTransactions",
        66,
        0,
        "3.0",
        "a replica that takes over waits for the timeout of what a crashed one left open",
    ),
    ("DescribeProducers", 61, 0, "2.8", "nobody can say who holds a transaction open"),
)


def judge_cluster(facts: ClusterFacts, prefix: str, declared_partitions: int | None) -> list[Finding]:
    """A finding for each thing that was looked at.

    Args:
        facts: what was seen.
        prefix: the pipeline's TOPIC_PREFIX.
        declared_partitions: TOPIC_PARTITIONS, if that is set.
    """
    return [
        *_versions(facts),
        *_rights(facts, prefix),
        _topics_exist(facts, prefix),
        *_partition_counts(facts.topics, declared_partitions),
        *_settings(facts.topics, prefix),
        *_replication(facts, prefix),
        *_broker_settings(facts.broker_config),
        _clock(facts.clock),
        *_transactions(facts),
    ]


def _versions(facts: ClusterFacts) -> Iterator[Finding]:
    release = (facts.broker_config or {}).get("inter.broker.protocol.version", "")
    name = f"Kafka {release.partition('-')[0]}" if release else "Kafka"
    lacking = [need for need in _NEEDED if facts.versions.get(need[1], -1) < need[2]]
    missing = [need for need in _WANTED if facts.versions.get(need[1], -1) < need[2]]
    for request, _, version, since, otherwise in lacking:
        yield problem(
            "broker version",
            f"{name} does not know {request} version {version}: {otherwise}",
            f"use Kafka {since} or later",
        )
    for request, _, version, since, otherwise in missing:
        yield warning(
            "broker version",
            f"{name} does not know {request} version {version}: {otherwise}",
            f"use Kafka {since} or later",
        )
    if not lacking and not missing:
        brokers = "1 broker" if facts.brokers == 1 else f"{facts.brokers} brokers"
        yield ok("broker version", f"{brokers}, {name}, with every request that is needed")


def _rights(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    if facts.denied:
        yield problem(
            "rights",
            f"this client may not see {_names(facts.denied, prefix)}",
            "allow it to describe, read and write the topics of TOPIC_PREFIX (docs/security.md)",
        )
    unseen = [name for name, topic in facts.topics.items() if topic.config is None]
    if unseen:
        yield warning(
            "rights",
            f"this client may not see the settings of {_names(unseen, prefix)}, which were not checked",
            "allow it to describe the configurations of these topics",
        )
    if facts.transactions_denied:
        yield warning(
            "rights",
            "this client may not see who holds transactions open",
            "allow it to read these topics, and to describe the transactional ids of TOPIC_PREFIX",
        )
    if not (facts.denied or unseen or facts.transactions_denied):
        yield ok("rights", "this client may see all that was looked at")


def _topics_exist(facts: ClusterFacts, prefix: str) -> Finding:
    made_by_services = [name for name in facts.missing if name != DEAD_LETTERS_REPLAYED.name]
    if not made_by_services:
        return ok("topics", f"all there: {_names([topic.name for topic in ALL_TOPICS], prefix)}")
    if len(made_by_services) == len(ALL_TOPICS):
        return warning(
            "topics",
            f"there is no {_names(made_by_services, prefix)}",
            "start the services, which make them; or give the pipeline's --topic-prefix",
        )
    return warning(
        "topics", f"there is no {_names(made_by_services, prefix)}", "start the services, which make what is missing"
    )


def _partition_counts(topics: Mapping[str, TopicFacts], declared: int | None) -> Iterator[Finding]:
    counts = {name: len(topic.partitions) for name, topic in topics.items() if name != DEAD_LETTERS_REPLAYED.name}
    if not counts:
        return
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    if len(set(counts.values())) > 1:
        yield problem(
            "partitions",
            f"not the same for all topics: {told}; the services do not start",
            "stop all services, `pipeline recompute`, start all with TOPIC_PARTITIONS as many as orders has",
        )
        return
    count = next(iter(counts.values()))
    if declared is not None and declared != count:
        yield problem(
            "partitions",
            f"each topic has {count}, TOPIC_PARTITIONS says {declared}: the services do not start",
            f"set TOPIC_PARTITIONS={count}, or use another TOPIC_PREFIX",
        )
        return
    yield ok("partitions", f"{count} of each topic")


def _settings(topics: Mapping[str, TopicFacts], prefix: str) -> Iterator[Finding]:
    seen = {
        name: TopicSettings(topic.replication_factor, topic.config)
        for name, topic in topics.items()
        if topic.config is not None
    }
    if not seen:
        return
    found = differences(prefix, [(topic.name, topic.rules) for topic in TOPICS], seen)
    for each in found:
        make = problem if each.rule.refused else warning
        yield make(
            "topic settings",
            str(each),
            f"kafka-configs.sh --alter --entity-type topics --entity-name {each.topic} --add-config {each.rule.setting}=...",
        )
    if not found:
        yield ok("topic settings", f"as the guarantees need them, in {len(seen)} topics")


def _replication(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    subject = "replication"
    everything = [(prefix, topic) for topic in facts.topics.values()]
    everything += [("", topic) for topic in facts.internal_topics.values()]
    healthy = True
    for its_prefix, topic in everything:
        name = its_prefix + topic.name
        leaderless = [each.number for each in topic.partitions if each.leader is None]
        behind = [each.number for each in topic.partitions if len(each.in_sync) < len(each.replicas)]
        if leaderless:
            healthy = False
            yield problem(
                subject, f"{name} has no leader for partition {_numbers(leaderless)}", "start the brokers that are down"
            )
        elif behind:
            healthy = False
            yield warning(
                subject,
                f"{name} has fewer replicas in sync than it should, in partition {_numbers(behind)}",
                "start the brokers that are down, or wait until they have caught up",
            )
    single = [its_prefix + topic.name for its_prefix, topic in everything if topic.replication_factor == 1]
    if facts.brokers > 1 and single:
        healthy = False
        yield warning(
            subject,
            f"{', '.join(single)}: one replica on {facts.brokers} brokers, so that a single failure stops the pipeline",
            "TOPIC_REPLICATION_FACTOR=3 before the topics are made, or kafka-reassign-partitions.sh",
        )
    if healthy and everything:
        factors = sorted({topic.replication_factor for _, topic in everything})
        yield ok(subject, f"{_numbers(factors)}, all in sync; brokers: {facts.brokers}")


def _broker_settings(config: Mapping[str, str] | None) -> Iterator[Finding]:
    subject = "broker settings"
    if config is None:
        yield skipped(subject, "this client may not see them")
        return
    sound = True
    if config.get("auto.create.topics.enable") == "true":
        sound = False
        yield warning(
            subject,
            "auto.create.topics.enable=true: a client that mistypes a topic makes it",
            "set it to false; the services make their topics themselves",
        )
    kept_minutes = int(config.get("offsets.retention.minutes", "0"))
    records_minutes = (
        int(config.get("log.retention.ms") or int(config.get("log.retention.hours", "0")) * 3_600_000) // 60_000
    )
    if 0 < kept_minutes <= records_minutes:
        sound = False
        yield warning(
            subject,
            f"offsets.retention.minutes={kept_minutes}: a group that is away for so long forgets its place before its records"
            " are gone",
            f"set it to more than {records_minutes}, for which records are kept",
        )
    if sound:
        yield ok(subject, "topics are not made by accident, and groups keep their places longer than there are records")


def _clock(clock: Clock) -> Finding:
    subject = "clock"
    advice = "set both machines' clocks by NTP: orders ahead of their arrival by a minute become dead letters"
    ahead_s = clock.ahead_s
    if ahead_s is None and clock.newest_order_ahead_s is not None and clock.newest_order_ahead_s > _CLOCKS_DIFFER_S:
        return warning(
            subject, f"the broker's is {clock.newest_order_ahead_s:.1f} s ahead of this machine's, or more", advice
        )
    if ahead_s is None:
        return skipped(subject, "no order came in while this looked, so the broker's clock was not seen")
    if abs(ahead_s) > _CLOCKS_DIFFER_S:
        which = "ahead of" if ahead_s > 0 else "behind"
        return warning(subject, f"this machine's is {abs(ahead_s):.1f} s {which} the broker's", advice)
    return ok(
        subject, f"within {_CLOCKS_DIFFER_S:.0f} s of the broker's ({ahead_s:+.2f} s, the way of an order included)"
    )


def _transactions(facts: ClusterFacts) -> Iterator[Finding]:
    subject = "transactions"
    if not facts.open_transactions:
        yield ok(subject, f"none has been open for {facts.watched_s:.0f} s")
        return
    for each in facts.open_transactions:
        yield _transaction(each, subject, facts.watched_s)


def _transaction(found: OpenTransaction, subject: str, watched_s: float) -> Finding:
    where = f"partition {found.partition} of {found.topic}"
    if found.producer_id is None:
        return warning(
            subject,
            f"one has held up the readers of {where} for {watched_s:.0f} s; nobody could say whose it is",
            "run this once more; if it stays: kafka-transactions.sh find-hanging",
        )
    if found.transactional_id is not None:
        return warning(
            subject,
            f"that of {found.transactional_id!r} has held up the readers of {where} for {watched_s:.0f} s",
            "start the service that it belongs to, which ends it; or wait for its timeout (15 s for the services' own)",
        )
    return problem(
        subject,
        f"that of producer {found.producer_id} in {where} hangs: no coordinator tells of it, so nobody ends it, and readers"
        f" stop at offset {found.start_offset}",
        "make sure that this client may describe every transactional id, or the coordinator only keeps it secret; then"
        f" kafka-transactions.sh abort --topic {found.topic} --partition {found.partition}"
        f" --start-offset {found.start_offset}",
    )


def _names(names: Sequence[str], prefix: str) -> str:
    return ", ".join(prefix + name for name in names)


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
