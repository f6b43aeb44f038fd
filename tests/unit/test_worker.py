import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.clock import SystemClock
from libs.runtime.errors import StuckConsumerError
from libs.runtime.health import Health
from libs.runtime.report import Report
from libs.runtime.silence import Silence
from libs.runtime.timing import STUCK_AFTER_S, TICK_S
from libs.runtime.worker import PartitionWorker


class CancelledFromWithin(PartitionWorker):
    async def _work(self) -> None:
        raise asyncio.CancelledError


def make_worker(kind: type[PartitionWorker] = PartitionWorker) -> PartitionWorker:
    anything: Any = SimpleNamespace(answering=True)
    partition = TopicPartition("orders", 0)
    return kind(anything, anything, anything, partition, anything, anything, Health(), Report(SystemClock()))


async def test_a_worker_that_nobody_here_cancelled_is_missed() -> None:
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    make_worker(CancelledFromWithin).start(failed.set_result)
    assert isinstance(await asyncio.wait_for(failed, 5), StuckConsumerError)


class FakeTime:
    now_s = 1000.0

    def look_for(self, silence: Silence, seconds: float, *, excused: bool = False) -> None:
        for _ in range(int(seconds / TICK_S)):
            self.now_s += TICK_S
            silence.look(excused=excused)


def test_a_consumer_that_hears_nothing_from_a_broker_that_answers_is_stuck() -> None:
    time = FakeTime()
    silence = Silence("orders-0", lambda: time.now_s)
    time.look_for(silence, STUCK_AFTER_S)
    time.look_for(silence, STUCK_AFTER_S, excused=True)
    time.look_for(silence, STUCK_AFTER_S)
    with pytest.raises(StuckConsumerError):
        time.look_for(silence, 1)


def test_a_machine_that_was_suspended_has_no_stuck_consumer() -> None:
    time = FakeTime()
    silence = Silence("orders-0", lambda: time.now_s)
    time.look_for(silence, 1)
    time.now_s += 3600
    time.look_for(silence, 10)
