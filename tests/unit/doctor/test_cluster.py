"""The findings for facts about a cluster."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition

from doctor.cluster import cluster_findings
from doctor.cluster_facts import Clock, ClusterFacts, Failure, OpenTransaction, Partition, TopicFacts
from doctor.collect_clock import clock_of
from doctor.collect_transactions import held_up
from doctor.finding import Level
from libs.events.rights import ROLES, VIEWER
from libs.events.topics import ALL_TOPICS
from libs.runtime.kafka_requests.list_transactions import COMPLETE_ABORT, COMPLETE_COMMIT
from libs.runtime.rights.right import Operation, Role
from libs.runtime.transactions.missing_markers import group_partition

BROKER = {
    "inter.broker.protocol.version": "3.9-IV0",
    "auto.create.topics.enable": "false",
    "offsets.retention.minutes": "43200",
    "log.retention.hours": "168",
}
CONFIG = {
    "min.insync.replicas": "1",
    "unclean.leader.election.enable": "false",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
}
VERSIONS = {28: 3, 9: 8, 66: 0, 61: 0}


def topic(name: str, partitions: int = 2, replicas: tuple[int, ...] = (1,), **config: str) -> TopicFacts:
    policy = {"cleanup.policy": "compact" if name == "analytics-state" else "delete"}
    every = tuple(Partition(number, replicas[0], replicas, replicas) for number in range(partitions))
    return TopicFacts(name, every, CONFIG | policy | {key.replace("_", "."): value for key, value in config.items()})


TOPICS = {each.name: topic(each.name) for each in ALL_TOPICS}
HEALTHY = ClusterFacts(
    brokers=1,
    versions=VERSIONS,
    broker_config=BROKER,
    topics=TOPICS
    | {"processed-orders": topic("processed-orders", max_message_bytes="2097152")}
    | {name: topic(name, max_message_bytes="2097152") for name in ("orders-dlq", "late-orders")},
    missing=("dead-letters-replayed",),
    denied=(),
    internal_topics={"__transaction_state": topic("__transaction_state")},
    clock=Clock(0.1, None),
    watched_s=5.0,
    open_transactions=(),
)


def problems_of(facts: ClusterFacts, declared: int | None = None) -> list[tuple[Level, str, str, str]]:
    return [
        (each.level, each.subject, each.message, each.advice)
        for each in cluster_findings(facts, "mine.", declared)
        if each.level is not Level.OK
    ]


def test_a_healthy_cluster_has_no_problems() -> None:
    findings = cluster_findings(HEALTHY, "mine.", 2)
    assert {each.level for each in findings} == {Level.OK}, findings
    assert [each.subject for each in findings] == [
        *("broker version", "rights", "topics", "partitions", "topic settings", "replication", "broker settings"),
        *("clock", "transactions"),
    ]
    assert "Kafka 3.9" in findings[0].message


def with_topic(**config: str) -> dict[str, Any]:
    return {"topics": {**HEALTHY.topics, "orders": topic("orders", 2, (1,), **config)}}


def with_partitions(name: str, *partitions: Partition) -> dict[str, Any]:
    return {"topics": {**HEALTHY.topics, name: replace(HEALTHY.topics[name], partitions=partitions)}}


@pytest.mark.parametrize(
    ("change", "level", "subject", "message", "advice"),
    [
        ({"versions": VERSIONS | {28: 2}}, Level.PROBLEM, "broker version", "TxnOffsetCommit version 3", "2.5"),
        ({"versions": {28: 3, 9: 7, 61: 0}}, Level.WARNING, "broker version", "ListTransactions", "3.0"),
        ({"denied": ("orders",)}, Level.WARNING, "rights", "not checked: mine.orders, which", "`python -m acls"),
        (
            {"topics": {**HEALTHY.topics, "orders": replace(HEALTHY.topics["orders"], config=None)}},
            Level.WARNING,
            "rights",
            "the settings of mine.orders",
            "`python -m acls",
        ),
        (
            {"transactions_denied": True},
            Level.WARNING,
            "rights",
            "the producers of open transactions",
            "transactional ids",
        ),
        (
            {"topics": {}, "missing": tuple(each.name for each in ALL_TOPICS)},
            Level.WARNING,
            "topics",
            "mine.orders, mine.processed-orders",
            "--topic-prefix",
        ),
        ({"missing": ("late-orders",)}, Level.WARNING, "topics", "missing: mine.late-orders", "start the services"),
        (
            {"topics": {**HEALTHY.topics, "orders": topic("orders", 3)}},
            Level.PROBLEM,
            "partitions",
            "orders 3, processed-orders 2",
            "pipeline recompute",
        ),
        (
            with_topic(cleanup_policy="compact"),
            Level.PROBLEM,
            "topic settings",
            "topic 'mine.orders' has cleanup.policy=compact",
            "--entity-name mine.orders --add-config cleanup.policy=",
        ),
        (
            with_topic(retention_ms="1000"),
            Level.WARNING,
            "topic settings",
            "topic 'mine.orders' has retention.ms=1000",
            "--add-config retention.ms=",
        ),
        (
            with_partitions("orders", Partition(0, None, (1,), ()), Partition(1, 1, (1,), (1,))),
            Level.PROBLEM,
            "replication",
            "mine.orders has no leader for partition 0",
            "start the brokers",
        ),
        (
            with_partitions("orders", Partition(0, 1, (1, 2), (1,)), Partition(1, 1, (1, 2), (1, 2))),
            Level.WARNING,
            "replication",
            "has replicas out of sync, in partition 0",
            "start the brokers",
        ),
        (
            {"broker_config": BROKER | {"auto.create.topics.enable": "true"}},
            Level.WARNING,
            "broker settings",
            "auto.create.topics.enable=true",
            "false",
        ),
        (
            {"broker_config": BROKER | {"offsets.commit.required.acks": "1"}},
            Level.PROBLEM,
            "broker settings",
            "offsets.commit.required.acks=1",
            "remove",
        ),
        (
            {"broker_config": BROKER | {"offsets.retention.minutes": "10080"}},
            Level.WARNING,
            "broker settings",
            "offsets.retention.minutes=10080",
            "more than 10080",
        ),
        (
            {"broker_config": BROKER | {"log.retention.minutes": "50000"}, "topics": {}},
            Level.WARNING,
            "broker settings",
            "offsets.retention.minutes=43200",
            "more than 50000",
        ),
        *(
            (
                {"broker_config": BROKER | {name: "-1"}, "topics": {}},
                Level.WARNING,
                "broker settings",
                "offsets.retention.minutes=43200",
                "for ever",
            )
            for name in ("log.retention.ms", "log.retention.minutes", "log.retention.hours")
        ),
        (
            with_topic(retention_ms="-1"),
            Level.WARNING,
            "broker settings",
            "offsets.retention.minutes=43200",
            "for ever",
        ),
        (
            with_topic(retention_ms="3000000000"),
            Level.WARNING,
            "broker settings",
            "offsets.retention.minutes=43200",
            "more than 50000",
        ),
        ({"broker_config": None}, Level.SKIPPED, "broker settings", "not allowed", ""),
        ({"clock": Clock(-3.0, None)}, Level.WARNING, "clock", "3.0 s behind the broker's", "NTP"),
        ({"clock": Clock(61.0, None)}, Level.WARNING, "clock", "61.0 s ahead of the broker's", "NTP"),
        ({"clock": Clock(None, 4.0)}, Level.WARNING, "clock", "the broker's clock is at least 4.0 s ahead", "NTP"),
        ({"clock": Clock(None, -400.0)}, Level.SKIPPED, "clock", "no order arrived", ""),
        ({"clock": Failure("no answer")}, Level.SKIPPED, "clock", "the orders could not be read: no answer", ""),
        ({"open_transactions": Failure("no answer")}, Level.SKIPPED, "transactions", "not be watched: no answer", ""),
        (
            {"producers_failure": "no answer"},
            Level.WARNING,
            "transactions",
            "the producers of open transactions could not be listed: no answer",
            "again",
        ),
        (
            {
                "open_transactions": (
                    OpenTransaction("mine.late-orders", 1, 7, 1000, "mine.processor-3-x-0", "Ongoing"),
                )
            },
            Level.WARNING,
            "transactions",
            "'mine.processor-3-x-0' has blocked readers of partition 1 of mine.late-orders for 5 s",
            "start its service",
        ),
        (
            {"open_transactions": (OpenTransaction("mine.orders", 1, 7, 1000, "of-a-sender", "Ongoing"),)},
            Level.WARNING,
            "transactions",
            "'of-a-sender' has blocked readers of partition 1 of mine.orders for 5 s",
            "it does not belong to this pipeline: end it in the program that opened it",
        ),
        (
            {
                "open_transactions": (
                    OpenTransaction("mine.late-orders", 1, 7, 1000, "mine.processor-3-x-0", COMPLETE_COMMIT),
                )
            },
            Level.PROBLEM,
            "transactions",
            "readers are blocked at offset 7. It was committed, but",
            "`pipeline complete-transactions` writes it. Do not abort",
        ),
        (
            {
                "open_transactions": (
                    OpenTransaction("mine.orders", 1, 7, 1000, "mine.dead-letters-replay", COMPLETE_COMMIT),
                )
            },
            Level.PROBLEM,
            "transactions",
            "readers are blocked at offset 7. It was committed, but",
            "`pipeline complete-transactions` writes it. Do not abort",
        ),
        (
            {"open_transactions": (OpenTransaction("mine.orders", 1, 7, 1000, "of-a-sender", COMPLETE_COMMIT),)},
            Level.PROBLEM,
            "transactions",
            "Its producer's last one was committed, which does not show how this one ended",
            "if it was not committed: kafka-transactions.sh abort --topic mine.orders --partition 1 --start-offset 7",
        ),
        (
            {
                "open_transactions": (
                    OpenTransaction("mine.late-orders", 1, 7, 1000, "mine.processor-3-x-0", COMPLETE_ABORT),
                )
            },
            Level.PROBLEM,
            "transactions",
            "the transaction of 'mine.processor-3-x-0' in partition 1 of mine.late-orders hangs",
            "kafka-transactions.sh abort --topic mine.late-orders --partition 1 --start-offset 7",
        ),
        (
            {"open_transactions": (OpenTransaction("mine.late-orders", 1, 7, 1000, None),)},
            Level.PROBLEM,
            "transactions",
            "the transaction of producer 1000 in partition 1 of mine.late-orders hangs",
            "if it was not committed: kafka-transactions.sh abort --topic mine.late-orders --partition 1 --start-offset 7",
        ),
        (
            {"open_transactions": (OpenTransaction("mine.late-orders", 1, None, None, None),)},
            Level.WARNING,
            "transactions",
            "of an unknown producer",
            "find-hanging",
        ),
    ],
)
def test_a_problem_is_reported_with_advice(
    change: Mapping[str, Any], level: Level, subject: str, message: str, advice: str
) -> None:
    [(found_level, found_subject, found_message, found_advice)] = problems_of(replace(HEALTHY, **change))
    assert (found_level, found_subject) == (level, subject)
    assert message in found_message
    assert advice in found_advice


def test_a_client_that_may_see_no_topic_has_a_problem() -> None:
    denied = tuple(each.name for each in ALL_TOPICS)
    (level, subject, message, advice), *others = problems_of(replace(HEALTHY, topics={}, denied=denied))
    assert (level, subject) == (Level.PROBLEM, "rights")
    assert "not checked: mine.orders, mine.processed-orders" in message
    assert "`python -m acls --topic-prefix mine.`" in advice
    assert {each[0] for each in others} == {Level.SKIPPED}


def seen_by(role: Role) -> ClusterFacts:
    """The facts that a client sees that has just the rights of ``role``."""
    allowed = {
        operation: {right.name for right in role.rights if right.operation is operation} for operation in Operation
    }
    described = {
        name: replace(each, config=each.config if name in allowed[Operation.DESCRIBE_CONFIGS] else None)
        for name, each in HEALTHY.topics.items()
        if name in allowed[Operation.READ] | allowed[Operation.WRITE] | allowed[Operation.DESCRIBE]
    }
    denied = tuple(name for name in HEALTHY.topics if name not in described)
    return replace(HEALTHY, topics=described, denied=denied, broker_config=None)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_principal_with_the_rights_of_its_role_is_not_advised_to_get_more(role: Role) -> None:
    findings = cluster_findings(seen_by(role), "mine.", None, role)
    assert {each.level for each in findings} <= {Level.OK, Level.SKIPPED}, findings


def test_what_a_principal_does_not_see_is_listed_as_not_checked() -> None:
    told = [each for each in cluster_findings(seen_by(VIEWER), "mine.", None, VIEWER) if each.subject == "rights"]
    assert [(each.level, each.advice) for each in told] == [(Level.SKIPPED, ""), (Level.SKIPPED, "")]
    assert told[0].message == "not checked: mine.analytics-state, which this client is not allowed to describe"
    assert "the settings of mine.orders, mine.processed-orders, which" in told[1].message
    (topics,) = (each for each in cluster_findings(seen_by(VIEWER), "mine.", None) if each.subject == "topics")
    assert "mine.product-metrics" in topics.message
    assert "analytics-state" not in topics.message


def test_a_declared_number_of_partitions_that_differs_from_the_topics_is_a_problem() -> None:
    [(level, subject, message, advice)] = problems_of(HEALTHY, declared=6)
    assert (level, subject) == (Level.PROBLEM, "partitions")
    assert "each topic has 2, TOPIC_PARTITIONS is 6" in message
    assert "TOPIC_PARTITIONS=2" in advice


def test_replication_factor_1_is_enough_only_for_a_single_broker() -> None:
    [(level, subject, message, _)] = problems_of(replace(HEALTHY, brokers=3))
    assert (level, subject) == (Level.WARNING, "replication")
    assert "mine.orders" in message
    assert "__transaction_state" in message


def test_the_clock_offset_is_taken_from_the_order_with_the_lowest_latency() -> None:
    assert clock_of([(10.5, 10_000), (11.125, 11_000)], 9_000, 12.0) == Clock(0.125, -3.0)
    assert clock_of([], None, 12.0) == Clock(None, None)


def test_a_transaction_is_abandoned_if_its_last_stable_offset_does_not_move() -> None:
    def at(**ends: tuple[int, int]) -> dict[TopicPartition, tuple[int, int]]:
        return {TopicPartition(name, 0): offsets for name, offsets in ends.items()}

    before = at(left=(5, 9), moves=(5, 9), idle=(9, 9), begun=(9, 9))
    after = at(left=(5, 12), moves=(8, 12), idle=(9, 9), begun=(9, 12))
    assert held_up(before, after) == {TopicPartition("left", 0): 5}


@pytest.mark.parametrize(
    ("group", "number"),
    [("processor", 28), ("analytics", 10), ("episode-2-processor", 45), ("episode-2-analytics", 27), ("", 0)],
)
def test_a_group_s_offsets_are_where_kafka_places_them(group: str, number: int) -> None:
    assert group_partition(group, 50) == number
