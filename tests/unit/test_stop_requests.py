import asyncio

from libs.runtime.service.stop_requests import unless_stopped


async def test_a_stop_request_ends_the_work() -> None:
    stop = asyncio.Event()
    assert await unless_stopped(asyncio.sleep(0, "done"), stop) == "done"
    waiting = asyncio.create_task(unless_stopped(asyncio.sleep(3600, "done"), stop))
    await asyncio.sleep(0)
    stop.set()
    assert await waiting is None
