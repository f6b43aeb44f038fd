"""The requests of a transactional producer: their order, and when they are repeated."""

import asyncio

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.errors import AnswerLostError, TransactionFencedError, TransactionTimeoutError
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.timing import TRANSACTION_TIMEOUT_MS
from libs.runtime.transactions import producer as producer_module
from libs.runtime.transactions.connection import GROUP, TRANSACTION
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from tests.unit.transactions.fake_connection import FakeConnection
from tests.unit.transactions.requests import answer_to

MEMBER = GroupMember("mine.processor", 7, "member")
SOURCE = TopicPartition("mine.orders", 3)
OUT = [TopicPartition("mine.out", number) for number in range(3)]
PRODUCER = (40, 2)
STEPS = ("AddPartitionsToTxn", "AddOffsetsToTxn", "Produce", "MemberOffsetCommit", "EndTxn")


async def started(connection: FakeConnection) -> TransactionalProducer:
    connection.script("InitProducerId", lambda request: answer_to(request, producer=PRODUCER))
    producer = TransactionalProducer(connection.as_connection(), "id", "mine.")
    await producer.start()
    connection.requests.clear()
    return producer


def outputs(*partitions: int, values: int = 1) -> OutputBuffer:
    """This number of records for each of these partitions."""
    buffer = OutputBuffer({"out": 3})
    for partition in partitions:
        buffer.extend("out", [partition] * values, [(None, b"value", 0)] * values, [])
    return buffer


async def commit(producer: TransactionalProducer, buffer: OutputBuffer | None = None, position: int = 5) -> None:
    async with asyncio.timeout(30):
        await producer.commit(buffer or outputs(0), {SOURCE: position}, MEMBER)


async def until_idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_requests_of_a_transaction() -> None:
    connection = FakeConnection()
    await commit(await started(connection), outputs(0, 1))
    by_name = {request.name: request for request in connection.requests}
    assert sorted(connection.names) == sorted(STEPS)
    transactional = {"transactional_id": "id", "producer_id": 40, "producer_epoch": 2}
    for name in set(STEPS) - {"Produce"}:
        assert transactional.items() <= by_name[name].fields.items()
    for name in ("AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn"):
        assert by_name[name].to == (TRANSACTION, "id")
    assert by_name["AddPartitionsToTxn"].partitions() == OUT[:2]
    assert by_name["AddOffsetsToTxn"].fields["group_id"] == "mine.processor"
    assert by_name["EndTxn"].fields["transaction_result"] is True
    offsets = by_name["MemberOffsetCommit"]
    assert offsets.to == (GROUP, "mine.processor")
    assert offsets.values() == {SOURCE: 5}
    named = {"group_id": "mine.processor", "generation_id": 7, "member_id": "member", "group_instance_id": None}
    assert named.items() <= offsets.fields.items()
    produced = by_name["Produce"]
    assert (produced.fields["transactional_id"], produced.fields["required_acks"]) == ("id", -1)
    assert set(produced.values()) == set(OUT[:2])


async def test_starting_requests_a_producer_id_with_the_transaction_timeout() -> None:
    connection = FakeConnection()
    await TransactionalProducer(connection.as_connection(), "id").start()
    [request] = connection.requests
    assert request.to == (TRANSACTION, "id")
    assert request.fields == {"transactional_id": "id", "transaction_timeout_ms": TRANSACTION_TIMEOUT_MS}


@pytest.mark.parametrize(
    ("held", "sent_by_then"),
    [
        ("AddPartitionsToTxn", {*STEPS[:2]}),
        ("AddOffsetsToTxn", {*STEPS[:2]}),
        ("Produce", {*STEPS[:3]}),
        ("MemberOffsetCommit", {*STEPS[:4]}),
        ("EndTxn", {*STEPS}),
    ],
)
async def test_a_step_begins_after_all_responses_of_the_previous_step(held: str, sent_by_then: set[str]) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.hold(held)
    committing = asyncio.create_task(commit(producer))
    await until_idle()
    assert set(connection.names) == sent_by_then
    connection.release(held)
    await committing
    assert sorted(connection.names) == sorted(STEPS)


async def test_each_of_several_leaders_acknowledges_before_the_commit() -> None:
    connection = FakeConnection(leaders={OUT[1]: 2})
    producer = await started(connection)
    connection.hold("Produce@2")
    committing = asyncio.create_task(commit(producer, outputs(0, 1, 2)))
    await until_idle()
    assert {request.to: set(request.values()) for request in connection.named("Produce")} == {
        1: {OUT[0], OUT[2]},
        2: {OUT[1]},
    }
    assert "EndTxn" not in connection.names
    connection.release("Produce@2")
    await committing
    assert connection.names[-1] == "EndTxn"


async def test_a_transaction_may_have_only_offsets() -> None:
    connection = FakeConnection()
    await commit(await started(connection), OutputBuffer({"out": 3}))
    assert connection.names == ["AddOffsetsToTxn", "MemberOffsetCommit", "EndTxn"]


@pytest.mark.parametrize("name", [*STEPS[:2], *STEPS[3:]])
@pytest.mark.parametrize(("code", "refreshes"), [(14, 0), (51, 0), (15, 1), (16, 1)])
async def test_a_request_is_retried_on_retriable_errors(name: str, code: int, refreshes: int) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.script(name, code, code)
    connection.hold(name)
    committing = asyncio.create_task(commit(producer))
    await until_idle()
    assert connection.names.count(name) == 1  # never without a response
    connection.release(name)
    await committing
    assert connection.names.count(name) == 3
    assert connection.refreshes == 2 * refreshes
    assert len({str(request) for request in connection.named(name)}) == 1
    assert set(connection.names) == set(STEPS)


@pytest.mark.parametrize(("code", "refreshes"), [(14, 0), (51, 0), (16, 1)])
async def test_starting_waits_until_an_earlier_transaction_has_ended(code: int, refreshes: int) -> None:
    connection = FakeConnection()
    connection.script("InitProducerId", code, lambda request: answer_to(request, producer=PRODUCER))
    producer = TransactionalProducer(connection.as_connection(), "id")
    await producer.start()
    assert connection.names == ["InitProducerId"] * 2
    assert connection.refreshes == refreshes
    await commit(producer)
    assert connection.requests[-1].fields["producer_id"] == 40


async def test_starting_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "COMMIT_TIMEOUT_S", 0.01)
    connection = FakeConnection()
    connection.hold("InitProducerId")
    with pytest.raises(TransactionTimeoutError):
        await TransactionalProducer(connection.as_connection(), "id").start()


@pytest.mark.parametrize("name", STEPS)
async def test_a_commit_has_a_time_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    monkeypatch.setattr(producer_module, "COMMIT_TIMEOUT_S", 0.01)
    connection.hold(name)
    with pytest.raises(TransactionTimeoutError):
        await commit(producer)
    assert connection.names.count(name) <= 1  # on a slow machine the time limit expires before it
    assert not connection.answered.count("EndTxn")


@pytest.mark.parametrize("name", STEPS)
async def test_after_a_lost_response_only_the_abort_is_sent(name: str) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.script(name, AnswerLostError("no answer"))
    with pytest.raises(AnswerLostError):
        await commit(producer, outputs(0, 1))
    await until_idle()
    assert connection.names.count(name) == 1
    later = {step for step in STEPS[2 * (STEPS.index(name) // 2 + 1) :] if step != name}
    assert not later & set(connection.names)
    before = len(connection.requests)
    await producer.abort()
    [abort] = connection.requests[before:]
    assert (abort.name, abort.fields["transaction_result"]) == ("EndTxn", False)


async def test_without_an_open_transaction_there_is_nothing_to_abort() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    await producer.abort()
    await commit(producer)
    connection.requests.clear()
    await producer.abort()
    assert not connection.requests


async def test_a_rejected_abort_is_an_error() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.script("AddOffsetsToTxn", AnswerLostError("no answer"))
    connection.script("EndTxn", 47)
    with pytest.raises(AnswerLostError):
        await commit(producer)
    with pytest.raises(TransactionFencedError):
        await producer.abort()


@pytest.mark.parametrize(("lost", "accepted_by"), [("MemberOffsetCommit", None), ("EndTxn", 2)])
async def test_the_broker_that_accepts_offsets_is_known_before_they_can_be_committed(
    lost: str, accepted_by: int | None
) -> None:
    producer = await started(connection := FakeConnection())
    connection.script(lost, AnswerLostError("no answer"))
    with pytest.raises(AnswerLostError):
        await commit(producer)
    assert producer.offsets_accepted_by == accepted_by
