"""What the log says of a partition beside its events: the partition itself, and the transaction that is filled."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka.structs import TopicPartition

from libs.runtime import worker as worker_module
from libs.runtime.broker import Backoff
from libs.runtime.health import Health
from libs.runtime.worker import PartitionWorker
from tests.unit.test_worker import Backlog, CommitsAtOnce, Counter, assigned, stage_metrics


class FailsAtFirst(Counter):
    def __init__(self) -> None:
        self.fails = True

    def process(self, *_: object) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError("refused")


class TellsItsAttempts(PartitionWorker):
    logic: FailsAtFirst
    attempts: list[Mapping[str, object]]

    async def _work(self) -> None:
        self.attempts.append(structlog.contextvars.get_contextvars())
        producer: Any = CommitsAtOnce()
        logic: Any = self.logic
        await self._loop(producer, logic)


async def test_the_log_knows_a_transaction_until_its_failure_is_told_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    # A logger of its own: another test in this process may have made the module's keep the settings of then.
    monkeypatch.setattr(worker_module, "log", structlog.get_logger())
    backlog: Any = Backlog()
    anything: Any = SimpleNamespace(
        source_started=True, ends={}, answering=True, batch_size=50, commit_interval_ms=1, metrics=stage_metrics()
    )
    partition = TopicPartition("orders", 0)
    worker = TellsItsAttempts(anything, anything, backlog, partition, assigned(), anything, anything, Health())
    worker.logic, worker.attempts = FailsAtFirst(), []
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as told:
        worker.start(lambda _: None)
        await asyncio.wait_for(backlog.busy.wait(), 5)
        await worker.stop()
    [failed] = [line for line in told if line["event"].startswith("partition failed")]
    assert (failed["partition"], failed["transaction"]) == ("orders-0", 1)
    assert worker.attempts == [{"partition": "orders-0"}] * 2
