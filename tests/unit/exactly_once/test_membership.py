import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import InconsistentGroupProtocolError, KafkaError

from libs.runtime.errors import StuckConsumerError
from libs.runtime.exactly_once.membership import watch_membership


class FakeCoordinator:
    """Keeps an error until it is queried, as aiokafka's does."""

    def __init__(self) -> None:
        self._coordination_task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending: BaseException | None = None
        self.asked = asyncio.Event()

    def check_errors(self) -> None:
        self.asked.set()
        if self._coordination_task.done():
            self._coordination_task.result()
        error, self.pending = self.pending, None
        if error:
            raise error


def watch(coordinator: FakeCoordinator) -> asyncio.Task[None]:
    consumer = cast(AIOKafkaConsumer, SimpleNamespace(_coordinator=coordinator))
    return asyncio.create_task(watch_membership(consumer, check_every_s=0))


async def test_a_rejected_join_is_marked_for_a_retry() -> None:
    coordinator = FakeCoordinator()
    coordinator.pending = InconsistentGroupProtocolError()
    watching = watch(coordinator)
    for _ in range(2):
        coordinator.asked.clear()
        await coordinator.asked.wait()
    assert coordinator.pending is None
    assert not watching.done()
    watching.cancel()


async def test_a_membership_that_has_failed_ends_the_service() -> None:
    coordinator = FakeCoordinator()
    coordinator._coordination_task.set_exception(KafkaError("unexpected"))
    with pytest.raises(StuckConsumerError, match="unexpected"):
        await watch(coordinator)


async def test_a_membership_that_was_cancelled_ends_the_service() -> None:
    coordinator = FakeCoordinator()
    coordinator._coordination_task.cancel()
    with pytest.raises(StuckConsumerError):
        await watch(coordinator)
