"""Transactions that the coordinator has noted as committed, without a marker in each partition."""

from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from libs.runtime.errors import AnswerLostError
from libs.runtime.transactions import open_transactions
from libs.runtime.transactions.missing_markers import (
    OFFSETS_TOPIC,
    DescribedTransaction,
    group_partition,
    offsets_partition,
)
from libs.runtime.transactions.open_transactions import TransactionTargets, end_former_transactions, end_transaction
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.unit.transactions.fake_connection import FakeConnection
from tests.unit.transactions.requests import Sent, answer_to

FORMER = "mine.processor-6-member-0"
IDS = StageTransactionalIds("mine.", "processor")
GROUP = "mine.processor"
OUTPUTS = [TopicPartition("mine.out", 0), TopicPartition("mine.out", 1)]
WRITTEN = TransactionTargets(OUTPUTS, GROUP)
PRODUCER_ID, EPOCH, COORDINATOR_EPOCH = 6, 3, 9
_DENIED, _CLUSTER_DENIED = 29, 31


class Cluster:
    """Scripts the responses about one transactional id, whose transaction has no marker in the partitions ``open_in``."""

    def __init__(self, state: str, *open_in: TopicPartition) -> None:
        self.connection = FakeConnection()
        self.state = state
        self.open_in = set(open_in)
        self.describe_code = self.marker_code = 0

    def script(self, calls: int = 3) -> None:
        for name, answer in (
            ("DescribeTransactions", self._described),
            ("DescribeProducers", self._producers),
            ("Metadata", self._offsets_topic),
            ("CommitMarker", self._written),
        ):
            self.connection.script(name, *[answer] * calls * 4)

    def _described(self, _: Sent) -> Any:
        return SimpleNamespace(transaction_states=[(0, FORMER, self.state, 0, 0, PRODUCER_ID, EPOCH, [], {})])

    def _producers(self, request: Sent) -> Any:
        ours: Any = (PRODUCER_ID, EPOCH, 0, 0, COORDINATOR_EPOCH, 17, {})
        others: list[Any] = [(7, 0, 0, 0, 0, 20, {}), (8, 0, 0, 0, 0, -1, {})]
        return SimpleNamespace(
            topics=[
                (
                    topic,
                    [(each, self.describe_code, "", self._in(topic, each, ours) + others, {}) for each in numbers],
                    {},
                )
                for topic, numbers, *_ in request.fields["topics"]
            ]
        )

    def _in(self, topic: str, number: int, producer: Any) -> list[Any]:
        return [producer] if TopicPartition(topic, number) in self.open_in else []

    def _offsets_topic(self, _: Sent) -> Any:
        return SimpleNamespace(topics=[(0, OFFSETS_TOPIC, True, [None] * 50)])

    def _written(self, request: Sent) -> Any:
        [(producer_id, _, commit, [(topic, [number], *_)], *_)] = request.fields["markers"]
        assert commit
        if not self.marker_code:
            self.open_in.discard(TopicPartition(topic, number))
        return SimpleNamespace(markers=[(producer_id, [(topic, [(number, self.marker_code, {})], {})], {})])

    @property
    def markers(self) -> list[tuple[TopicPartition, int, int, int]]:
        """Partition, producer id and epoch, and the coordinator's epoch of each marker."""
        return [
            (TopicPartition(topic, number), producer_id, epoch, coordinator_epoch)
            for request in self.connection.named("CommitMarker")
            for producer_id, epoch, _, [(topic, [number], *_)], coordinator_epoch, *_ in request.fields["markers"]
        ]


@pytest.fixture(autouse=True)
def captured_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_transactions, "log", structlog.get_logger())


OFFSETS = TopicPartition(OFFSETS_TOPIC, group_partition(GROUP, 50))


@pytest.mark.parametrize("state", ["PrepareCommit", "CompleteCommit"])
async def test_missing_commit_markers_are_written_once_the_producer_is_fenced(state: str) -> None:
    cluster = Cluster(state, OUTPUTS[1], OFFSETS)
    cluster.script()
    with capture_logs() as lines:
        await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN)
    assert sorted(cluster.markers) == [
        (OFFSETS, PRODUCER_ID, EPOCH, COORDINATOR_EPOCH),
        (OUTPUTS[1], PRODUCER_ID, EPOCH, COORDINATOR_EPOCH),
    ]
    names = cluster.connection.names
    assert names.index("InitProducerId") < names.index("CommitMarker")
    assert [line["log_level"] for line in lines] == ["warning", "warning"]


@pytest.mark.parametrize("state", ["Ongoing", "PrepareAbort", "CompleteAbort", "Empty"])
async def test_no_commit_marker_is_written_for_another_state(state: str) -> None:
    cluster = Cluster(state, *OUTPUTS)
    cluster.script()
    await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN)
    assert cluster.connection.names == ["DescribeTransactions", "InitProducerId"]


async def test_no_marker_is_written_where_none_is_missing() -> None:
    cluster = Cluster("CompleteCommit")
    cluster.script()
    await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN)
    assert cluster.markers == []
    assert cluster.connection.named("InitProducerId")


async def test_the_coordinator_keeps_the_commit_if_this_client_may_not_look_for_markers() -> None:
    cluster = Cluster("CompleteCommit", *OUTPUTS)
    cluster.describe_code = _DENIED
    cluster.script()
    await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN)
    assert not cluster.connection.named("InitProducerId")


async def test_a_marker_that_may_not_be_written_is_an_error_line() -> None:
    cluster = Cluster("CompleteCommit", OUTPUTS[0])
    cluster.marker_code = _CLUSTER_DENIED
    cluster.script()
    with capture_logs() as lines:
        await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN)
    [line] = lines
    assert (line["log_level"], line["offset"], line["transactional_id"]) == ("error", 17, FORMER)


async def test_a_commit_is_remembered_if_the_answer_of_its_fencing_is_lost() -> None:
    cluster = Cluster("CompleteCommit", OUTPUTS[0])
    cluster.script()
    cluster.connection.script("InitProducerId", AnswerLostError("no answer"))
    known: dict[str, DescribedTransaction] = {}
    with pytest.raises(AnswerLostError):
        await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN, known)
    cluster.state = "Empty"
    with capture_logs():
        await end_transaction(cluster.connection.as_connection(), FORMER, WRITTEN, known)
    assert [partition for partition, *_ in cluster.markers] == [OUTPUTS[0]]
    assert known == {}


async def test_a_successor_looks_for_complete_transactions_that_are_open_somewhere() -> None:
    cluster = Cluster("CompleteCommit", OUTPUTS[0])
    cluster.script()

    def listed(request: Sent) -> Any:
        return SimpleNamespace(error_code=0, transactions=[(FORMER, PRODUCER_ID, "CompleteCommit", {})])

    cluster.connection.script("ListTransactions", listed, lambda request: answer_to(request, listed=[]))
    with capture_logs():
        await end_former_transactions(cluster.connection.as_connection(), IDS, 7, WRITTEN)
    assert [partition for partition, *_ in cluster.markers] == [OUTPUTS[0]]

    cluster.connection.requests.clear()
    cluster.connection.script("ListTransactions", listed, lambda request: answer_to(request, listed=[]))
    await end_former_transactions(cluster.connection.as_connection(), IDS, 7, WRITTEN)
    assert not cluster.connection.named("InitProducerId")


async def test_a_successor_remembers_a_commit_whose_markers_it_could_not_write_in_time() -> None:
    cluster = Cluster("PrepareCommit", OUTPUTS[0])
    cluster.script()

    def listed(request: Sent) -> Any:
        return SimpleNamespace(error_code=0, transactions=[(FORMER, PRODUCER_ID, "PrepareCommit", {})])

    cluster.connection.script("ListTransactions", listed, lambda request: answer_to(request, listed=[]))
    cluster.connection.script("InitProducerId", AnswerLostError("no answer"))
    known: dict[str, DescribedTransaction] = {}
    with capture_logs():
        await end_former_transactions(cluster.connection.as_connection(), IDS, 7, WRITTEN, known)
    assert known == {FORMER: ("PrepareCommit", PRODUCER_ID, EPOCH)}


async def test_a_client_that_may_not_see_the_offsets_topic_looks_at_the_outputs_only() -> None:
    connection = FakeConnection()
    connection.script("Metadata", lambda _: SimpleNamespace(topics=[(_DENIED, OFFSETS_TOPIC, True, [])]))
    assert await offsets_partition(connection.as_connection(), GROUP) is None
