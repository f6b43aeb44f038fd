"""Turns facts about a cluster into findings."""

from collections.abc import Iterator

from doctor.broker_findings import broker_setting_findings, clock_finding, version_findings
from doctor.cluster_facts import ClusterFacts
from doctor.finding import Finding, ok, problem, skipped, warning
from doctor.topic_findings import (
    existence_finding,
    partition_findings,
    prefixed,
    replication_findings,
    setting_findings,
)
from doctor.transaction_findings import transaction_findings
from libs.runtime.rights.right import Role


def cluster_findings(
    facts: ClusterFacts, prefix: str, declared_partitions: int | None, role: Role | None = None
) -> list[Finding]:
    """At least one finding for each check.

    Args:
        facts: what was collected.
        prefix: the pipeline's TOPIC_PREFIX.
        declared_partitions: TOPIC_PARTITIONS, if that is set.
        role: the principal that this client is, if that is known. Its rights are judged by ``check_rights``.
    """
    return [
        *version_findings(facts),
        *_rights(facts, prefix, role),
        existence_finding(facts, prefix),
        *partition_findings(facts.topics, declared_partitions),
        *setting_findings(facts.topics, prefix),
        *replication_findings(facts, prefix),
        *broker_setting_findings(facts.broker_config, facts.topics),
        clock_finding(facts.clock),
        *transaction_findings(facts, prefix),
    ]


def _rights(facts: ClusterFacts, prefix: str, role: Role | None) -> Iterator[Finding]:
    """What this client was not allowed to see. That is a fault only if no role has just its rights."""
    unseen = [name for name, topic in facts.topics.items() if topic.config is None]
    not_seen = []
    if facts.denied:
        not_seen.append((f"{prefixed(facts.denied, prefix)}, which this client is not allowed to describe", ""))
    if unseen:
        not_seen.append(
            (f"the settings of {prefixed(unseen, prefix)}, which this client is not allowed to describe", "")
        )
    if facts.transactions_denied:
        not_seen.append(
            (
                "the producers of open transactions, which this client is not allowed to list",
                "allow it to read these topics, and to describe the transactional ids of TOPIC_PREFIX",
            )
        )
    make = problem if facts.denied and not facts.topics else warning
    for what, advice in not_seen:
        message = f"not checked: {what}"
        yield skipped("rights", message) if role else make("rights", message, advice or _granting(prefix))
    if not not_seen:
        yield ok("rights", "this client may describe everything that was checked")


def _granting(prefix: str) -> str:
    command = "python -m acls" + (f" --topic-prefix {prefix}" if prefix else "")
    return f"`{command}` grants each program what it needs (docs/security.md); --role checks the rights of one"
