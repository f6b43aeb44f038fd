"""Sending of batches to their partitions' leaders."""

import asyncio
import struct

import pytest
from aiokafka.errors import NodeNotReadyError
from aiokafka.structs import TopicPartition

from libs.runtime.transactions import unwritten_batches
from libs.runtime.transactions.error_codes import _MEANINGS, Meaning, meaning_of
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import MAX_BATCH_BYTES, OutputBuffer, RecordBatch
from tests.unit.transactions.fake_connection import FakeConnection
from tests.unit.transactions.requests import answer_to
from tests.unit.transactions.test_producer import OUT, PRODUCER, commit, outputs, started

NOT_YET = [code for code, meaning in _MEANINGS.items() if meaning in (Meaning.RETRY, Meaning.REFRESH_AND_RETRY)]
DUPLICATE = 46


def state_of(batch: bytearray) -> tuple[int, int, int, int]:
    """Producer id, epoch, first sequence number and number of records."""
    found: tuple[int, int, int, int] = struct.unpack_from(">qhii", batch, 43)
    return found


def states(connection: FakeConnection, partition: TopicPartition) -> list[tuple[int, int, int, int]]:
    return [
        state_of(request.values()[partition])
        for request in connection.named("Produce")
        if partition in request.values()
    ]


def large_batches(*counts: int) -> dict[TopicPartition, list[RecordBatch]]:
    """This number of batches of maximum size for each of the first partitions."""
    buffer = OutputBuffer({"out": 3})
    for partition, count in enumerate(counts):
        buffer.extend("out", [partition] * count, [(None, bytes(MAX_BATCH_BYTES), 0)] * count, [])
    return {OUT[partition]: batches for (_, partition), batches in buffer.batches().items()}


async def produce(
    producer: TransactionalProducer, batches: dict[TopicPartition, list[RecordBatch]]
) -> dict[TopicPartition, list[int]]:
    async with asyncio.timeout(30):
        return await producer.produce(batches)


async def test_sequence_numbers_of_a_partition_continue_across_transactions() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    await commit(producer, outputs(0, values=3))
    await commit(producer, outputs(0, 1, values=2))
    await commit(producer, outputs(1, values=4))
    assert states(connection, OUT[0]) == [(*PRODUCER, 0, 3), (*PRODUCER, 3, 2)]
    assert states(connection, OUT[1]) == [(*PRODUCER, 0, 2), (*PRODUCER, 2, 4)]


async def test_sequence_numbers_wrap_around() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    producer._sequences[OUT[0]] = 2**31 - 2
    for _ in range(2):
        await commit(producer, outputs(0, values=5))
    assert [sequence for _, _, sequence, _ in states(connection, OUT[0])] == [2**31 - 2, 3]


async def test_a_request_has_at_most_one_batch_per_partition_in_order() -> None:
    connection = FakeConnection()
    written = iter(range(100, 200))
    for _ in range(4):
        connection.script(
            "Produce", lambda request: answer_to(request, offsets={each: next(written) for each in request.values()})
        )
    producer = await started(connection)
    offsets = await produce(producer, large_batches(3, 1))
    assert [list(request.values()) for request in connection.named("Produce")] == [OUT[:2], OUT[:1], OUT[:1]]
    assert [sequence for _, _, sequence, _ in states(connection, OUT[0])] == [0, 1, 2]
    assert offsets == {OUT[0]: [100, 102, 103], OUT[1]: [101]}


async def test_a_request_exceeds_its_size_limit_only_with_a_single_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    monkeypatch.setattr(unwritten_batches, "MAX_REQUEST_BYTES", 2 * MAX_BATCH_BYTES + 10_000)
    await produce(producer, large_batches(1, 1, 1))
    assert [list(request.values()) for request in connection.named("Produce")] == [OUT[:2], OUT[2:]]
    connection.requests.clear()
    monkeypatch.setattr(unwritten_batches, "MAX_REQUEST_BYTES", 1_000)
    await produce(producer, large_batches(2, 1))
    assert [list(request.values()) for request in connection.named("Produce")] == [OUT[:1], OUT[:1], OUT[1:2]]


async def test_a_broker_gets_one_request_at_a_time() -> None:
    """Two could overtake each other in its queues if the connection breaks between them."""
    connection = FakeConnection()
    producer = await started(connection)
    connection.hold("Produce")
    producing = asyncio.create_task(produce(producer, large_batches(2)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert connection.names == ["Produce"]
    connection.release("Produce")
    await producing
    assert connection.names == ["Produce"] * 2


@pytest.mark.parametrize("code", [code for code in NOT_YET if meaning_of(code) is Meaning.RETRY])
async def test_a_batch_that_cannot_be_written_yet_is_resent_to_the_same_leader(code: int) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.script("Produce", lambda request: answer_to(request, codes={OUT[0]: code}))
    await produce(producer, large_batches(2, 1))
    requests = [(request.to, list(request.values())) for request in connection.named("Produce")]
    assert requests == [(1, OUT[:2]), (1, OUT[:1]), (1, OUT[:1])]
    assert states(connection, OUT[0]) == [(*PRODUCER, 0, 1), (*PRODUCER, 0, 1), (*PRODUCER, 1, 1)]
    assert connection.refreshes == 0


@pytest.mark.parametrize("code", [code for code in NOT_YET if meaning_of(code) is Meaning.REFRESH_AND_RETRY])
async def test_a_batch_that_was_not_written_is_resent_to_the_current_leader(code: int) -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.on_refresh = lambda: connection.leaders.update({OUT[0]: 2})
    connection.script("Produce", lambda request: answer_to(request, codes={OUT[0]: code}))
    await produce(producer, large_batches(2, 1))
    requests = [(request.to, list(request.values())) for request in connection.named("Produce")]
    assert requests == [(1, OUT[:2]), (2, OUT[:1]), (2, OUT[:1])]
    assert states(connection, OUT[0]) == [(*PRODUCER, 0, 1), (*PRODUCER, 0, 1), (*PRODUCER, 1, 1)]
    assert connection.refreshes == 1


async def test_a_duplicate_sequence_number_counts_as_written() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.script("Produce", DUPLICATE)
    await produce(producer, large_batches(1))
    assert connection.names == ["Produce"]


async def test_a_batch_is_resent_if_there_was_no_connection() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.script("Produce", NodeNotReadyError("away"))
    await produce(producer, large_batches(1))
    assert connection.names == ["Produce"] * 2
    assert connection.refreshes == 1
