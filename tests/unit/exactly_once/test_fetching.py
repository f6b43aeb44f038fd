import asyncio
from typing import Any

import pytest

from libs.runtime.exactly_once.fetching import FetchReader
from tests.unit.exactly_once.fakes import ORDERS, FakeConsumer, records


def make_reader() -> tuple[FetchReader, FakeConsumer, asyncio.Event]:
    stop, consumer = asyncio.Event(), FakeConsumer()
    untyped: Any = consumer
    return FetchReader(untyped, stop), consumer, stop


def commit_under_way() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def test_records_that_arrive_after_the_wait_belong_to_the_next_read() -> None:
    reader, consumer, _ = make_reader()
    assert await reader.read(0.0, None) == {}
    consumer.put({ORDERS[0]: [7, 8], ORDERS[1]: [3]})
    await asyncio.sleep(0)
    assert consumer.positions == {ORDERS[0]: 9, ORDERS[1]: 4}
    assert await reader.read(None, None) == {ORDERS[0]: records(7, 8), ORDERS[1]: records(3)}
    assert consumer.reads == 1
    await reader.close()


async def test_the_end_of_a_commit_ends_the_wait() -> None:
    reader, _, _ = make_reader()
    commit = commit_under_way()
    reading = asyncio.create_task(reader.read(None, commit, tick_s=3600))
    await asyncio.sleep(0)
    commit.set_result(None)
    assert await asyncio.wait_for(reading, 600) == {}
    await reader.close()


async def test_records_that_arrive_together_with_the_end_of_a_commit_are_read() -> None:
    reader, consumer, _ = make_reader()
    commit = commit_under_way()
    reading = asyncio.create_task(reader.read(None, commit))
    await asyncio.sleep(0)
    consumer.put({ORDERS[0]: [7]})
    commit.set_result(None)
    found = await reading or await reader.read(None, None)
    assert found == {ORDERS[0]: records(7)}
    await reader.close()


async def test_a_tick_returns_no_records() -> None:
    reader, consumer, _ = make_reader()
    assert await reader.read(3600.0, None) == {}
    assert consumer.reads == 1
    await reader.close()


async def test_a_stop_request_cancels_the_read() -> None:
    reader, consumer, stop = make_reader()
    reading = asyncio.create_task(reader.read(None, None))
    await asyncio.sleep(0)
    stop.set()
    assert await reading is None
    consumer.put({ORDERS[0]: [7]})
    assert await reader.read(None, None) is None
    await reader.close()
    reader, consumer, stop = make_reader()
    await reader.read(0.0, None)
    await reader.close()
    assert consumer.given_up == 1


@pytest.mark.parametrize("error", [RuntimeError("refused"), asyncio.CancelledError()])
async def test_an_error_of_the_consumer_is_raised(error: BaseException) -> None:
    reader, consumer, _ = make_reader()
    consumer.found.put_nowait(error)
    with pytest.raises(type(error)):
        await reader.read(None, None)
    await reader.close()
