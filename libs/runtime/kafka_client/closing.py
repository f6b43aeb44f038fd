"""Closes aiokafka's clients within a time limit, whatever state the broker is in."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.protocol.group import LeaveGroupRequest

from libs.runtime.timing import CLOSE_TIMEOUT_S

# stop() of both classes can hang while the broker is down (aiokafka #1101, #1013), and leaves tasks and connections behind
# when it is cancelled. There is no public way to end those; a test checks that the private names exist.


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop ``consumer``, within one and a half times ``CLOSE_TIMEOUT_S``."""
    if not await close_quietly(consumer.stop()):
        await close_quietly(_leave_group(consumer))
    await close_quietly(consumer._client.close())  # noqa: SLF001


async def _leave_group(consumer: AIOKafkaConsumer) -> None:
    """Leave the group, which ``stop()`` does not do while it waits for a rebalance that another member delays.

    The request goes over another connection: the broker answers the requests of one connection in order, and the one for
    the group's requests is waiting.
    """
    coordinator: Any = consumer._coordinator  # noqa: SLF001
    member = getattr(coordinator, "member_id", "")
    if member and coordinator.coordinator_id is not None:
        request = LeaveGroupRequest(coordinator.group_id, member)
        await consumer._client.send(coordinator.coordinator_id, request)  # noqa: SLF001


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Stop ``producer``; records that are not delivered within half of ``CLOSE_TIMEOUT_S`` are dropped."""
    if not await close_quietly(producer.stop()):
        await close_quietly(producer._sender.close())  # noqa: SLF001
        await close_quietly(producer.client.close())


async def close_quietly(closing: Coroutine[Any, Any, object]) -> bool:
    """Run ``closing`` for half of ``CLOSE_TIMEOUT_S`` at most; returns whether it finished. Its errors are ignored.

    It may also raise the ``CancelledError`` of a task that it cancelled itself [aiokafka 0.14: Fetcher.close awaits
    its fetches], which must not be taken for this task's.
    """
    task = asyncio.ensure_future(closing)
    task.add_done_callback(_looked_at)
    await asyncio.wait({task}, timeout=CLOSE_TIMEOUT_S / 2)
    if not task.done():
        task.cancel()
        return False
    return task.cancelled() or task.exception() is None


def _looked_at(task: asyncio.Future[object]) -> None:
    # It may still fail after the time limit, and asyncio would log its exception as never retrieved.
    if not task.cancelled():
        task.exception()
