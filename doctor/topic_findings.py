"""Findings about the topics: existence, partitions, settings, replication."""

from collections.abc import Iterator, Mapping, Sequence

from doctor.cluster_facts import ClusterFacts, TopicFacts
from doctor.finding import Finding, ok, problem, skipped, warning
from libs.events.topics import ALL_TOPICS, DEAD_LETTERS_REPLAYED
from libs.runtime.topics.rules import TopicSettings, differences

TOPICS = (*ALL_TOPICS, DEAD_LETTERS_REPLAYED)


def existence_finding(facts: ClusterFacts, prefix: str) -> Finding:
    """Whether the pipeline's topics exist."""
    made_by_services = [name for name in facts.missing if name != DEAD_LETTERS_REPLAYED.name]
    if not made_by_services:
        seen = [topic.name for topic in ALL_TOPICS if topic.name not in facts.denied]
        return ok("topics", f"all exist: {prefixed(seen, prefix)}") if seen else skipped("topics", "none was seen")
    if len(made_by_services) == len(ALL_TOPICS):
        return warning(
            "topics",
            f"missing: {prefixed(made_by_services, prefix)}",
            "start the services, which create them, or give the pipeline's --topic-prefix",
        )
    return warning("topics", f"missing: {prefixed(made_by_services, prefix)}", "start the services, which create them")


def partition_findings(topics: Mapping[str, TopicFacts], declared: int | None) -> Iterator[Finding]:
    """Whether the topics have the same number of partitions, and the ``declared`` one."""
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


def setting_findings(topics: Mapping[str, TopicFacts], prefix: str) -> Iterator[Finding]:
    """The settings of the topics."""
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


def replication_findings(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    """Leaders, replicas in sync, and the replication factor."""
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


def prefixed(names: Sequence[str], prefix: str) -> str:
    """The topics' full names, as a list in a sentence."""
    return ", ".join(prefix + name for name in names)


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
