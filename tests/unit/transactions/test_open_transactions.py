"""Ending the open transactions of former members."""

import asyncio
from types import SimpleNamespace

import pytest
import structlog
from aiokafka.errors import IncompatibleBrokerVersion, NodeNotReadyError
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from libs.runtime.errors import AnswerLostError
from libs.runtime.transactions import open_transactions
from libs.runtime.transactions.open_transactions import TransactionTargets, end_former_transactions
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.unit.transactions.fake_connection import FakeConnection
from tests.unit.transactions.requests import Sent, answer_to

IDS = StageTransactionalIds("mine.", "processor")
FORMER = ["mine.processor-6-member-0", "mine.processor-5-other-3"]
WRITTEN = TransactionTargets([TopicPartition("mine.out", 0)], "mine.processor")
OTHERS = [
    "mine.processor-7-member-1",
    "mine.analytics-6-member-0",
    "yours.processor-6-member-0",
    "mine.processor-orders-3",
]


class ListedTransactions:
    """The response of a broker that coordinates these ids."""

    def __init__(self, *transactional_ids: str) -> None:
        self._ids = transactional_ids

    def __call__(self, request: Sent) -> SimpleNamespace:
        assert request.fields["state_filters"] == ["Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit"]
        answer: SimpleNamespace = answer_to(request, listed=[(each, "Ongoing") for each in self._ids])
        return answer


def ended(connection: FakeConnection) -> list[str]:
    return [request.fields["transactional_id"] for request in connection.named("InitProducerId")]


async def end(connection: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The levels of the log lines; only without a warning, the look was complete."""
    monkeypatch.setattr(open_transactions, "log", structlog.get_logger())
    with capture_logs() as captured:
        async with asyncio.timeout(30):
            complete = await end_former_transactions(connection.as_connection(), IDS, 7, WRITTEN)
    levels = [line["log_level"] for line in captured]
    assert complete is ("warning" not in levels)
    return levels


async def test_former_transactions_of_this_stage_are_found_on_all_brokers_and_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = FakeConnection()
    connection.script("ListTransactions", ListedTransactions(FORMER[0], *OTHERS), ListedTransactions(FORMER[1]))
    assert await end(connection, monkeypatch) == ["info"]
    assert [request.to for request in connection.named("ListTransactions")] == [1, 2]
    assert sorted(ended(connection)) == sorted(FORMER)


async def test_brokers_that_cannot_list_transactions_are_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    connection.script(
        "ListTransactions", IncompatibleBrokerVersion("Kafka 2.8"), IncompatibleBrokerVersion("Kafka 2.8")
    )
    assert await end(connection, monkeypatch) == []


async def test_without_former_transactions_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    connection.script("ListTransactions", ListedTransactions(*OTHERS))
    assert await end(connection, monkeypatch) == []
    assert not ended(connection)


async def test_it_waits_until_they_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    connection.script("ListTransactions", ListedTransactions(FORMER[0]))
    connection.script("InitProducerId", 51, 51, 0)
    assert await end(connection, monkeypatch) == ["info"]
    assert ended(connection) == [FORMER[0]] * 3


@pytest.mark.parametrize("error", [NodeNotReadyError("away"), AnswerLostError("no answer")])
async def test_an_unavailable_broker_does_not_block_the_others(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = FakeConnection()
    connection.script("ListTransactions", error, ListedTransactions(FORMER[0]))
    assert await end(connection, monkeypatch) == ["info", "warning"]
    assert ended(connection) == [FORMER[0]]


async def test_a_broker_that_holds_its_answer_does_not_block_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_transactions, "_ONE_BROKER_ANSWERS_WITHIN_S", 0.01)
    connection = FakeConnection()
    connection.hold("ListTransactions@1")
    connection.script("ListTransactions", ListedTransactions(FORMER[0]))
    assert await end(connection, monkeypatch) == ["info", "warning"]
    assert ended(connection) == [FORMER[0]]


async def test_a_coordinator_that_is_loading_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has loaded them it lists no transactions."""
    connection = FakeConnection()
    connection.script("ListTransactions", 14, ListedTransactions(FORMER[0]))
    assert await end(connection, monkeypatch) == ["info"]
    assert [request.to for request in connection.named("ListTransactions")] == [1, 1, 2]
    assert ended(connection) == [FORMER[0]]


async def test_a_coordinator_that_stays_loading_is_an_incomplete_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_transactions, "_ONE_BROKER_ANSWERS_WITHIN_S", 0.01)
    connection = FakeConnection()
    connection.script("ListTransactions", lambda request: loading(connection, request))
    assert await end(connection, monkeypatch) == ["warning"]


def loading(connection: FakeConnection, request: Sent) -> SimpleNamespace:
    connection.script("ListTransactions", lambda again: loading(connection, again))
    answer: SimpleNamespace = answer_to(request, 14)
    return answer


async def test_a_transaction_that_does_not_end_does_not_block_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    connection.script("ListTransactions", ListedTransactions(*FORMER))
    connection.script("InitProducerId", AnswerLostError("no answer"), 51, 0)
    assert await end(connection, monkeypatch) == ["info", "warning"]
    assert ended(connection) == [*FORMER, FORMER[1]]


async def test_a_partition_without_a_leader_does_not_prevent_ending_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked only about producers whose transaction is complete."""
    monkeypatch.setattr(open_transactions, "_LONGEST_S", 0.05)
    connection = FakeConnection()
    listed = [(FORMER[0], "Ongoing"), (FORMER[1], "CompleteCommit")]
    connection.script("ListTransactions", lambda request: answer_to(request, listed=listed))
    monkeypatch.setattr(connection, "leader", lambda _: asyncio.Event().wait())
    assert await end(connection, monkeypatch) == ["info", "warning"]
    assert ended(connection) == [FORMER[0]]


@pytest.mark.parametrize("answer", [AnswerLostError("no answer"), 47, 53])
async def test_an_error_is_only_logged(answer: int | Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    connection.script("ListTransactions", ListedTransactions(FORMER[0]))
    connection.script("InitProducerId", answer)
    assert await end(connection, monkeypatch) == ["warning"]


async def test_the_wait_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_transactions, "_LONGEST_S", 0.01)
    connection = FakeConnection()
    connection.hold("ListTransactions")
    assert await end(connection, monkeypatch) == ["warning"]


async def test_it_can_be_cancelled() -> None:
    connection = FakeConnection()
    connection.hold("ListTransactions")
    ending = asyncio.create_task(end_former_transactions(connection.as_connection(), IDS, 7, WRITTEN))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
