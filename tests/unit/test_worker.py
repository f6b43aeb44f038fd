import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime import worker
from libs.runtime.clock import SystemClock
from libs.runtime.errors import StuckConsumerError
from libs.runtime.health import Health
from libs.runtime.logic import Progress
from libs.runtime.report import Report
from libs.runtime.timing import STUCK_AFTER_S
from libs.runtime.worker import PartitionWorker


class FakeTime:
    """Both of the machine's clocks."""

    now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    monotonic = time


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


def look_for(time: FakeTime, silent: PartitionWorker, seconds: float, confirmed_at_s: float) -> None:
    progress = Progress(5, 5, confirmed_at_s, source_started=True)
    for _ in range(int(seconds * 4)):
        time.now_s += 0.25
        silent._nothing_received(progress, 0.0, all_done=True)


async def test_a_consumer_that_hears_nothing_from_a_broker_that_answers_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = FakeTime()
    monkeypatch.setattr(worker, "time", time)
    silent = make_worker()
    look_for(time, silent, STUCK_AFTER_S, confirmed_at_s=1000.0)
    look_for(time, silent, STUCK_AFTER_S, confirmed_at_s=time.now_s)
    with pytest.raises(StuckConsumerError):
        look_for(time, silent, STUCK_AFTER_S, confirmed_at_s=1000.0)


async def test_a_machine_that_was_suspended_has_no_stuck_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeTime()
    monkeypatch.setattr(worker, "time", time)
    silent = make_worker()
    look_for(time, silent, 1, confirmed_at_s=1000.0)
    time.now_s += 3600
    look_for(time, silent, 10, confirmed_at_s=1000.0)
