"""Turns facts about a cluster into findings."""

from collections.abc import Iterator

from doctor.broker_findings import broker_setting_findings, clock_finding, version_findings
from doctor.cluster_facts import ClusterFacts
from doctor.finding import Finding, ok, problem, warning
from doctor.topic_findings import (
    existence_finding,
    partition_findings,
    prefixed,
    replication_findings,
    setting_findings,
)
from doctor.transaction_findings import transaction_findings


def cluster_findings(facts: ClusterFacts, prefix: str, declared_partitions: int | None) -> list[Finding]:
    """At least one finding for each check.

    Args:
        facts: what was collected.
        prefix: the pipeline's TOPIC_PREFIX.
        declared_partitions: TOPIC_PARTITIONS, if that is set.
    """
    return [
        *version_findings(facts),
        *_rights(facts, prefix),
        existence_finding(facts, prefix),
        *partition_findings(facts.topics, declared_partitions),
        *setting_findings(facts.topics, prefix),
        *replication_findings(facts, prefix),
        *broker_setting_findings(facts.broker_config, facts.topics),
        clock_finding(facts.clock),
        *transaction_findings(facts, prefix),
    ]


def _rights(facts: ClusterFacts, prefix: str) -> Iterator[Finding]:
    if facts.denied:
        yield problem(
            "rights",
            f"this client is not allowed to describe {prefixed(facts.denied, prefix)}",
            "allow it to describe, read and write the topics of TOPIC_PREFIX (docs/security.md)",
        )
    unseen = [name for name, topic in facts.topics.items() if topic.config is None]
    if unseen:
        yield warning(
            "rights",
            f"not checked: the settings of {prefixed(unseen, prefix)}, which this client is not allowed to describe",
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
