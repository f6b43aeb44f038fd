"""Turns facts about a cluster into findings."""

import math
from collections.abc import Iterator, Mapping, Sequence

from doctor.cluster_facts import Clock, ClusterFacts, Failure, OpenTransaction, TopicFacts
from doctor.finding import Finding, ok, problem, skipped, warning
from doctor.own_transactions import is_own
from libs.events.topics import ALL_TOPICS, DEAD_LETTERS_REPLAYED, ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.runtime.kafka_requests.list_transactions import COMPLETE_ABORT, COMPLETE_COMMIT
from libs.runtime.topics.rules import TopicSettings, differences
from libs.runtime.transactions.missing_markers import OFFSETS_TOPIC

TOPICS = (*ALL_TOPICS, DEAD_LETTERS_REPLAYED)
_READ = (ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS)  # by groups whose offsets matter
INTERNAL_TOPICS = (OFFSETS_TOPIC, "__transaction_state")

# More than the time from an order's arrival at the broker to its arrival here.
_CLOCKS_DIFFER_S = 2.0

# Request, its key, the required version, the Kafka release that has it, and the consequence without it.
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
        "after a crash the next replica waits until the transactions of the crashed one time out",
    ),
    ("DescribeProducers", 61, 0, "2.8", "`pipeline doctor` cannot name the producer of an open transaction"),
)


def cluster_findings(facts: ClusterFacts, prefix: str, declared_partitions: int | None) -> list[Finding]:
    """At least one finding for each check.

    Args:
        facts: what was collected.
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
        *_broker_settings(facts.broker_config, facts.topics),
        _clock(facts.clock),
        *_transactions(facts, prefix),
    ]


def _versions(facts: ClusterFacts) -> Iterator[Finding]:
    release = (facts.broker_config or {}).get("inter.broker.protocol.version", "")
    name = f"Kafka {release.partition('-')[0]}" if release else "Kafka"
    lacking = [need for need in _NEEDED if facts.versions.get(need[1], -1) < need[2]]
    missing = [need for need in _WANTED if facts.versions.get(need[1], -1) < need[2]]
    for request, _, version, since, otherwise in lacking:
        yield problem(
            "broker version",
            f"{name} does not support {request} version {version}: {otherwise}",
            f"use Kafka {since} or later",
        )
    for request, _, version, since, otherwise in missing:
        yield warning(
            "broker version",
            f"{name} does not support {request} version {version}: {otherwise}",
            f"use Kafka {since} or later",
        )
    if not lacking and not missing:
        brokers = "1 broker" if facts.brokers == 1 else f"{facts.brokers} brokers"
        yield ok("broker version", f"{brokers}, {name}, all required requests")


def _rights(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    if facts.denied:
        yield problem(
            "rights",
            f"this client is not allowed to describe {_names(facts.denied, prefix)}",
            "allow it to describe, read and write the topics of TOPIC_PREFIX (docs/security.md)",
        )
    unseen = [name for name, topic in facts.topics.items() if topic.config is None]
    if unseen:
        yield warning(
            "rights",
            f"not checked: the settings of {_names(unseen, prefix)}, which this client is not allowed to describe",
            "allow it to describe the configurations of these topics",
        )
    if facts.transactions_denied:
        yield warning(
            "rights",
            "this client is not allowed to list the producers of open transactions",
            "allow it to read these topics, and to describe the transactional ids of TOPIC_PREFIX",
        )
    if not (facts.denied or unseen or facts.transactions_denied):
        yield ok("rights", "this client may describe everything that was checked")


def _topics_exist(facts: ClusterFacts, prefix: str) -> Finding:
    made_by_services = [name for name in facts.missing if name != DEAD_LETTERS_REPLAYED.name]
    if not made_by_services:
        return ok("topics", f"all exist: {_names([topic.name for topic in ALL_TOPICS], prefix)}")
    if len(made_by_services) == len(ALL_TOPICS):
        return warning(
            "topics",
            f"missing: {_names(made_by_services, prefix)}",
            "start the services, which create them, or give the pipeline's --topic-prefix",
        )
    return warning("topics", f"missing: {_names(made_by_services, prefix)}", "start the services, which create them")


def _partition_counts(topics: Mapping[str, TopicFacts], declared: int | None) -> Iterator[Finding]:
    counts = {name: len(topic.partitions) for name, topic in topics.items() if name != DEAD_LETTERS_REPLAYED.name}
    if not counts:
        return
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    if len(set(counts.values())) > 1:
        yield problem(
            "partitions",
            f"different numbers: {listed}; the services do not start",
            "stop all services, run `pipeline recompute`, start them with TOPIC_PARTITIONS set to the number of orders",
        )
        return
    count = next(iter(counts.values()))
    if declared is not None and declared != count:
        yield problem(
            "partitions",
            f"each topic has {count}, TOPIC_PARTITIONS is {declared}: the services do not start",
            f"set TOPIC_PARTITIONS={count}, or use another TOPIC_PREFIX",
        )
        return
    yield ok("partitions", f"{count} in each topic")


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
            f"kafka-configs.sh --bootstrap-server ... --alter --entity-type topics --entity-name {each.topic} --add-config {each.rule.setting}=...",
        )
    if not found:
        yield ok("topic settings", f"correct in {len(seen)} topics")


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
                f"{name} has replicas out of sync, in partition {_numbers(behind)}",
                "start the brokers that are down, or wait until they have caught up",
            )
    single = [its_prefix + topic.name for its_prefix, topic in everything if topic.replication_factor == 1]
    if facts.brokers > 1 and single:
        healthy = False
        yield warning(
            subject,
            f"{', '.join(single)}: one replica on {facts.brokers} brokers; the failure of a single broker stops the pipeline",
            "TOPIC_REPLICATION_FACTOR=3 before the topics are created, or kafka-reassign-partitions.sh",
        )
    if healthy and everything:
        factors = sorted({topic.replication_factor for _, topic in everything})
        yield ok(subject, f"factor {_numbers(factors)}, all replicas in sync")


def _broker_settings(config: Mapping[str, str] | None, topics: Mapping[str, TopicFacts]) -> Iterator[Finding]:
    subject = "broker settings"
    if config is None:
        yield skipped(subject, "this client is not allowed to describe them")
        return
    sound = True
    if config.get("auto.create.topics.enable") == "true":
        sound = False
        yield warning(
            subject,
            "auto.create.topics.enable=true: a client with a mistyped topic creates that topic",
            "set it to false; the services create their topics themselves",
        )
    kept_minutes = int(config.get("offsets.retention.minutes", "0"))
    records_minutes = _retention_minutes(config, topics)
    if 0 < kept_minutes <= records_minutes:
        sound = False
        yield warning(
            subject,
            f"offsets.retention.minutes={kept_minutes}: offsets of an inactive group expire before the records do",
            "set it to more than "
            + (
                "any outage lasts: records are kept for ever"
                if records_minutes == math.inf
                else f"{records_minutes:.0f}, the retention of records"
            ),
        )
    if sound:
        yield ok(subject, "no automatic creation of topics; offsets are kept longer than records")


def _retention_minutes(config: Mapping[str, str], topics: Mapping[str, TopicFacts]) -> float:
    """The longest retention of the topics that groups read, infinite if one is negative; the broker's if they cannot be described.

    Of the broker's three settings the most precise one counts.
    """
    read = [topics[topic.name].config for topic in _READ if topic.name in topics]
    known = [int(each["retention.ms"]) for each in read if each and "retention.ms" in each]
    if known:
        return math.inf if min(known) < 0 else max(known) / 60_000
    for name, per_minute in (
        ("log.retention.ms", 60_000),
        ("log.retention.minutes", 1),
        ("log.retention.hours", 1 / 60),
    ):
        if value := config.get(name):
            return int(value) / per_minute if int(value) >= 0 else math.inf
    return 0


def _clock(clock: Clock | Failure) -> Finding:
    subject = "clock"
    if isinstance(clock, Failure):
        return skipped(subject, f"the orders could not be read: {clock.reason}")
    advice = "synchronize both machines by NTP: an order that is a minute ahead of its arrival becomes a dead letter"
    ahead_s = clock.ahead_s
    if ahead_s is None and clock.newest_order_ahead_s is not None and clock.newest_order_ahead_s > _CLOCKS_DIFFER_S:
        return warning(
            subject,
            f"the broker's clock is at least {clock.newest_order_ahead_s:.1f} s ahead of this machine's",
            advice,
        )
    if ahead_s is None:
        return skipped(subject, "no order arrived during the check, so the broker's clock is unknown")
    if abs(ahead_s) > _CLOCKS_DIFFER_S:
        which = "ahead of" if ahead_s > 0 else "behind"
        return warning(subject, f"this machine's clock is {abs(ahead_s):.1f} s {which} the broker's", advice)
    return ok(subject, f"{ahead_s:+.2f} s from the broker's, including the time an order takes to arrive")


def _transactions(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    subject = "transactions"
    if isinstance(facts.open_transactions, Failure):
        yield skipped(subject, f"they could not be watched: {facts.open_transactions.reason}")
        return
    if facts.producers_failure:
        yield warning(
            subject,
            f"the producers of open transactions could not be listed: {facts.producers_failure}",
            "run `pipeline doctor` again",
        )
    if not facts.open_transactions:
        yield ok(subject, f"none is open for {facts.watched_s:.0f} s or longer")
        return
    for each in facts.open_transactions:
        yield _transaction(each, prefix, subject, facts.watched_s)


def _transaction(found: OpenTransaction, prefix: str, subject: str, watched_s: float) -> Finding:
    where = f"partition {found.partition} of {found.topic}"
    if found.producer_id is None:
        return warning(
            subject,
            f"a transaction of an unknown producer has blocked readers of {where} for {watched_s:.0f} s",
            "run `pipeline doctor` again; if it is still there, kafka-transactions.sh find-hanging",
        )
    if not found.hangs:
        own = is_own(found.transactional_id or "", prefix)
        return warning(
            subject,
            f"the transaction of {found.transactional_id!r} has blocked readers of {where} for {watched_s:.0f} s",
            "start its service, which aborts it, or wait for its timeout (15 s)"
            if own
            else "it does not belong to this pipeline: end it in the program that opened it, restart that program (which aborts it), or wait"
            " for its timeout (transaction.timeout.ms of the program, 15 minutes at most by the brokers' default)",
        )
    hangs = f"hangs: no timeout ends it, and readers are blocked at offset {found.start_offset}"
    abort = (
        f"kafka-transactions.sh abort --topic {found.topic} --partition {found.partition}"
        f" --start-offset {found.start_offset}"
    )
    if found.state == COMPLETE_COMMIT and not is_own(found.transactional_id or "", prefix):
        return problem(
            subject,
            f"a transaction of {found.transactional_id!r} in {where} {hangs}. Its producer's last one was committed, which does not show"
            " how this one ended",
            "ask the owners of that program, or look for markers of this producer in other partitions (kafka-dump-log.sh); if it was not"
            f" committed: {abort}",
        )
    if found.state == COMPLETE_COMMIT:
        return problem(
            subject,
            f"the transaction of {found.transactional_id!r} in {where} {hangs}. It was committed, but the broker has not written its"
            " commit marker",
            "`pipeline complete-transactions` writes it. Do not abort the transaction: that would lose its records",
        )
    if found.state == COMPLETE_ABORT:
        return problem(
            subject, f"the transaction of {found.transactional_id!r} in {where} {hangs}. It was aborted", abort
        )
    return problem(
        subject,
        f"the transaction of producer {found.producer_id} in {where} {hangs}. No coordinator knows how it ended",
        "make sure that this client may describe every transactional id, or the coordinator hides it. If it is still unknown, look"
        f" for markers of this producer in other partitions (kafka-dump-log.sh); if it was not committed: {abort}",
    )


def _names(names: Sequence[str], prefix: str) -> str:
    return ", ".join(prefix + name for name in names)


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
