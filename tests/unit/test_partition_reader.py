import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.partition_reader import PartitionReader
from libs.runtime.timing import TICK_S

PARTITION = TopicPartition("orders", 0)


class FakeConsumer:
    """As aiokafka's: past the records as soon as ``getmany`` has them, whether or not somebody waits for it."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[list[str] | BaseException] = asyncio.Queue()
        self.calls = 0
        self.given_up = 0
        self._position = 7

    async def getmany(self, partition: TopicPartition, **_: object) -> Mapping[TopicPartition, list[str]]:
        self.calls += 1
        try:
            found = await self.came.get()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if isinstance(found, BaseException):
            raise found
        self._position += len(found)
        return {partition: found} if found else {}

    async def position(self, _: TopicPartition) -> int:
        return self._position


def make_reader() -> tuple[PartitionReader, FakeConsumer, asyncio.Event]:
    stop, consumer = asyncio.Event(), FakeConsumer()
    untyped: Any = consumer
    return PartitionReader(untyped, PARTITION, 7, stop), consumer, stop


def commit_under_way() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def test_what_comes_after_the_wait_has_ended_belongs_to_the_next_read() -> None:
    reader, consumer, _ = make_reader()
    assert await reader.read(0.0, None) == ()
    consumer.came.put_nowait(["a", "b"])
    await asyncio.sleep(0)
    assert await consumer.position(PARTITION) == 9
    assert reader.position == 7  # nobody has seen the records: committing 9 would lose them
    assert await reader.read(None, None) == ["a", "b"]
    assert reader.position == 9
    assert consumer.calls == 1
    await reader.close()


async def test_the_end_of_a_commit_ends_the_wait() -> None:
    reader, _, _ = make_reader()
    commit = commit_under_way()
    reading = asyncio.create_task(reader.read(None, commit))
    await asyncio.sleep(0)
    commit.set_result(None)
    assert await asyncio.wait_for(reading, TICK_S / 2) == ()
    await reader.close()


async def test_records_that_come_together_with_the_end_of_a_commit_are_read() -> None:
    reader, consumer, _ = make_reader()
    commit = commit_under_way()
    reading = asyncio.create_task(reader.read(None, commit))
    await asyncio.sleep(0)
    consumer.came.put_nowait(["a"])
    commit.set_result(None)
    found = await reading or await reader.read(None, None)
    assert found == ["a"]
    await reader.close()


async def test_nothing_fetched_moves_the_position_past_what_is_no_record() -> None:
    reader, consumer, _ = make_reader()
    consumer._position = 8  # a transaction's marker
    consumer.came.put_nowait([])
    assert await reader.read(None, None) == ()
    assert reader.position == 8
    await reader.close()


async def test_after_a_tick_there_is_nothing() -> None:
    reader, consumer, _ = make_reader()
    assert await reader.read(3600.0, None) == ()
    assert consumer.calls == 1
    await reader.close()


async def test_it_ends_when_asked_to_stop_and_gives_up_what_it_is_reading() -> None:
    reader, consumer, stop = make_reader()
    reading = asyncio.create_task(reader.read(None, None))
    await asyncio.sleep(0)
    stop.set()
    assert await reading is None
    consumer.came.put_nowait(["a"])
    assert await reader.read(None, None) is None
    reader, consumer, stop = make_reader()
    await reader.read(0.0, None)
    await reader.close()
    assert consumer.given_up == 1


@pytest.mark.parametrize("error", [RuntimeError("refused"), asyncio.CancelledError()])
async def test_an_error_of_the_consumer_is_the_readers(error: BaseException) -> None:
    reader, consumer, _ = make_reader()
    consumer.came.put_nowait(error)
    with pytest.raises(type(error)):
        await reader.read(None, None)
    await reader.close()
