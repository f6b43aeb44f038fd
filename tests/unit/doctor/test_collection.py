"""What is collected from a cluster, a part of which does not answer."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from doctor import collect_cluster, collect_transactions, complete_transactions
from doctor.cluster import cluster_findings
from doctor.cluster_facts import Clock, ClusterFacts, Failure, OpenTransaction
from doctor.collect_cluster import collect_cluster_facts, partitions_to_watch
from doctor.collect_transactions import OpenTransactions, collect_open_transactions
from doctor.complete_transactions import commit_hanging_transactions
from doctor.finding import Level
from libs.events.topics import STAGES
from libs.runtime.errors import AnswerLostError, PipelineError
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.transactions.missing_markers import OFFSETS_TOPIC, group_partition
from tests.unit.transactions.fake_connection import FakeConnection

KAFKA = KafkaAddress("there:2")
PREFIX = "mine."
BLOCKED = TopicPartition("mine.orders", 0)
PRODUCER_ID, START = 1, 5
LEADERLESS, OTHER = (group_partition(PREFIX + stage, 50) for stage in STAGES)


class Admin:
    """A cluster of one broker, with 50 partitions in each topic, one of which has lost its leader in the offsets' topic."""

    def __init__(self, **_: Any) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe_cluster(self) -> Any:
        return {"brokers": [{"node_id": 1}]}

    async def describe_topics(self, names: list[str]) -> Any:
        return [
            {"topic": name, "error_code": 0, "partitions": [*map(self._partition, [name] * 50, range(50))]}
            for name in names
        ]

    @staticmethod
    def _partition(topic: str, number: int) -> dict[str, Any]:
        has_leader = (topic, number) != (OFFSETS_TOPIC, LEADERLESS)
        return {"partition": number, "leader": 1 if has_leader else -1, "replicas": [1], "isr": [1]}

    async def describe_configs(self, _: Any) -> Any:
        return [SimpleNamespace(resources=[(0, "", 4, "1", [])])]


class Connection(FakeConnection):
    """Takes the place of one that is opened."""

    async def close(self) -> None: ...

    def is_opened(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        async def opened(*_: Any) -> Any:
            return self

        monkeypatch.setattr(module.BrokerConnection, "open", opened)


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    async def no_configs(*_: Any) -> dict[str, dict[str, str]]:
        return {}

    connection = Connection()
    connection.script("ApiVersion", *[lambda _: SimpleNamespace(api_versions=[])] * 4)
    connection.is_opened(monkeypatch, collect_cluster)
    monkeypatch.setattr(collect_cluster, "AIOKafkaAdminClient", Admin)
    monkeypatch.setattr(collect_cluster, "topic_configs", no_configs)
    return connection


async def facts_if(monkeypatch: pytest.MonkeyPatch, *, transactions: Any, clock: Any) -> ClusterFacts:
    """The facts if these two parts end so."""

    def ending(result: Any) -> Any:
        async def collect(*_: Any) -> Any:
            if isinstance(result, Exception):
                raise result
            return result

        return collect

    monkeypatch.setattr(collect_cluster, "collect_open_transactions", ending(transactions))
    monkeypatch.setattr(collect_cluster, "collect_clock", ending(clock))
    return await collect_cluster_facts(KAFKA, PREFIX, lambda _: None)


async def test_a_partition_without_a_leader_is_not_watched() -> None:
    watched = await partitions_to_watch(KAFKA, PREFIX)
    assert watched[OFFSETS_TOPIC] == (OTHER,)
    assert watched["mine.orders"] == tuple(range(50))


async def test_a_topic_whose_settings_are_denied_does_not_hide_those_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def configs(_: Any, names: list[str]) -> dict[str, dict[str, str]]:
        if "mine.orders" in names:
            raise TopicAuthorizationFailedError
        return {name: {"retention.ms": "1"} for name in names}

    monkeypatch.setattr(collect_cluster, "topic_configs", configs)
    facts = await facts_if(monkeypatch, transactions=OpenTransactions(), clock=Clock(None, None))
    assert facts.topics["orders"].config is None
    assert {name for name, topic in facts.topics.items() if topic.config is None} == {"orders"}


@pytest.mark.parametrize("error", [KafkaTimeoutError("no offsets"), OSError("no offsets"), PipelineError("no offsets")])
async def test_a_part_that_fails_is_skipped_and_the_other_findings_stay(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    facts = await facts_if(monkeypatch, transactions=error, clock=error)
    findings = {(each.subject, each.level): each.message for each in cluster_findings(facts, PREFIX, None)}
    assert f"{OFFSETS_TOPIC} has no leader for partition {LEADERLESS}" in findings["replication", Level.PROBLEM]
    for subject in ("transactions", "clock"):
        assert "no offsets" in findings[subject, Level.SKIPPED]


async def test_a_part_that_fails_does_not_hide_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = OpenTransactions((OpenTransaction(*BLOCKED, None, None, None),), denied=True)
    facts = await facts_if(monkeypatch, transactions=found, clock=KafkaError("away"))
    assert facts.open_transactions == found.found
    assert facts.transactions_denied
    assert isinstance(facts.clock, Failure)
    facts = await facts_if(monkeypatch, transactions=KafkaError("away"), clock=Clock(1.0, None))
    assert isinstance(facts.open_transactions, Failure)
    assert facts.clock == Clock(1.0, None)


class Consumer:
    """Records follow the last stable offset, which does not move."""

    def __init__(self, isolation_level: str, **_: Any) -> None:
        self._end = START if isolation_level == "read_committed" else START + 4

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self._end)


@pytest.fixture
def _blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_transactions, "AIOKafkaConsumer", Consumer)
    monkeypatch.setattr(collect_transactions, "WATCH_S", 0.0)


def producers(code: int = 0) -> Any:
    """The leader's response: ``code``, or the producer that blocks readers."""
    open_ones: list[Any] = [] if code else [(PRODUCER_ID, 0, 0, 0, 0, START, {})]
    return lambda _: SimpleNamespace(topics=[(BLOCKED.topic, [(BLOCKED.partition, code, "", open_ones, {})], {})])


def transactions(code: int = 0) -> Any:
    listed: list[Any] = [] if code else [("mine.id", PRODUCER_ID, "Ongoing", {})]
    return lambda _: SimpleNamespace(error_code=code, transactions=listed)


async def look(connection: Connection) -> OpenTransactions:
    return await collect_open_transactions(KAFKA, connection.as_connection(), {BLOCKED.topic: [BLOCKED.partition]})


@pytest.mark.usefixtures("_blocked")
async def test_a_transaction_that_stays_open_is_found_with_its_producer(connection: Connection) -> None:
    connection.script("ListTransactions", transactions(), transactions())
    connection.script("DescribeProducers", producers())
    known = OpenTransaction(*BLOCKED, START, PRODUCER_ID, "mine.id", "Ongoing")
    assert await look(connection) == OpenTransactions((known,))


UNKNOWN = OpenTransaction(*BLOCKED, None, None, None)


@pytest.mark.usefixtures("_blocked")
@pytest.mark.parametrize(
    "answer", [producers(29), producers(31), producers(53), producers(35), IncompatibleBrokerVersion()]
)
async def test_producers_that_may_not_be_listed_are_a_missing_right(connection: Connection, answer: Any) -> None:
    connection.script("DescribeProducers", answer)
    assert await look(connection) == OpenTransactions((UNKNOWN,), denied=True)


@pytest.mark.usefixtures("_blocked")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NodeNotReadyError("no connection"), "no connection"),
        (AnswerLostError("no answer"), "no answer"),
        (producers(6), "error code 6"),
    ],
)
async def test_a_broker_that_does_not_list_producers_is_no_missing_right(
    connection: Connection, answer: Any, reason: str
) -> None:
    connection.script("ListTransactions", transactions(), transactions())
    connection.script("DescribeProducers", answer)
    seen = await look(connection)
    assert (seen.found, seen.denied) == ((UNKNOWN,), False)
    assert reason in (seen.failure or "")


@pytest.mark.usefixtures("_blocked")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NodeNotReadyError("no connection"), "no connection"),
        (AnswerLostError("no answer"), "no answer"),
        (transactions(14), "error code 14"),
    ],
)
async def test_a_transaction_does_not_hang_because_its_coordinator_does_not_answer(
    connection: Connection, answer: Any, reason: str
) -> None:
    connection.script("ListTransactions", answer, lambda _: SimpleNamespace(error_code=0, transactions=[]))
    connection.script("DescribeProducers", producers())
    seen = await look(connection)
    assert (seen.found, seen.denied) == ((UNKNOWN,), False)
    assert reason in (seen.failure or "")


@pytest.mark.usefixtures("_blocked")
async def test_a_coordinator_of_other_transactions_may_be_away(connection: Connection) -> None:
    connection.script("ListTransactions", NodeNotReadyError("no connection"), transactions())
    connection.script("DescribeProducers", producers())
    seen = await look(connection)
    assert seen.failure is None
    assert [each.transactional_id for each in seen.found] == ["mine.id"]


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (OpenTransactions((UNKNOWN,), denied=True), "not allowed to list their producers"),
        (OpenTransactions((UNKNOWN,), failure="no answer"), "could not be listed: no answer"),
    ],
)
async def test_transactions_whose_producers_are_unknown_are_not_completed(
    monkeypatch: pytest.MonkeyPatch, connection: Connection, seen: OpenTransactions, message: str
) -> None:
    async def collected(*_: Any) -> OpenTransactions:
        return seen

    connection.is_opened(monkeypatch, complete_transactions)
    monkeypatch.setattr(complete_transactions, "collect_open_transactions", collected)
    with pytest.raises(PipelineError, match=message):
        await commit_hanging_transactions(KAFKA, PREFIX)
