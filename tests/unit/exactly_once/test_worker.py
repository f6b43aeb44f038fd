"""The reaction of a worker to a failed attempt; test_attempt.py tests the attempt itself."""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from libs.runtime.backoff import Backoff
from libs.runtime.errors import (
    AnswerLostError,
    NotAMemberError,
    RetriesExhaustedError,
    StuckConsumerError,
    TransactionFencedError,
    TransactionTimeoutError,
)
from libs.runtime.exactly_once import worker as worker_module
from libs.runtime.exactly_once.retries import MAX_FAILURES
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.exactly_once.worker import ReplicaWorker
from libs.runtime.metrics import totals
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.timing import STUCK_AFTER_S
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.unit.exactly_once.attempt import Attempt
from tests.unit.exactly_once.fakes import MEMBER, ORDERS, FakeConsumer, FakeLogic, make_stage, make_watch


class Failing(ReplicaWorker):
    """Each attempt fails with ``error``."""

    error: BaseException = RuntimeError("refused")
    attempts = 0
    often = 10 * MAX_FAILURES
    long_enough: asyncio.Event

    async def _attempt(self) -> None:
        self.attempts += 1
        if self.attempts == self.often:
            self.long_enough.set()
        await asyncio.sleep(0)
        raise self.error


def make_worker(error: BaseException, kind: type[Failing] = Failing) -> Failing:
    anything: Any = FakeConsumer()
    ids = StageTransactionalIds("", "processor")
    size = TransactionSize()
    worker = kind(make_stage(), ServiceSettings(), anything, ORDERS[:2], MEMBER, ids, make_watch(), Health(), size)
    worker.error, worker.long_enough = error, asyncio.Event()
    return worker


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    monkeypatch.setattr(worker_module, "FENCED_WAIT_S", 0.0)


async def failure_of(worker: ReplicaWorker) -> BaseException:
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    worker.start(failed.set_result)
    return await asyncio.wait_for(failed, 30)


async def test_an_unexpected_cancellation_of_the_worker_is_reported() -> None:
    assert isinstance(await failure_of(make_worker(asyncio.CancelledError())), StuckConsumerError)


async def test_after_the_last_retry_it_ends_with_advice() -> None:
    worker = make_worker(RuntimeError("refused"))
    error = await failure_of(worker)
    assert isinstance(error, RetriesExhaustedError)
    assert "nothing is lost" in error.advice
    assert worker.attempts == MAX_FAILURES + 1
    assert totals(worker._metrics.registry) == {"retries_error": MAX_FAILURES + 1}


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (KafkaConnectionError("away"), "retries_broker"),
        (AnswerLostError("no answer"), "retries_broker"),
        (TransactionTimeoutError("20 s"), "retries_broker"),
        (TransactionFencedError("ended"), "retries_fenced"),
        (OffsetOutOfRangeError({ORDERS[1]: 50}), "retries_offset_out_of_range"),
    ],
)
async def test_transient_errors_are_retried_forever(error: Exception, counted: str) -> None:
    worker = make_worker(error)
    failures: list[BaseException] = []
    worker.start(failures.append)
    await asyncio.wait_for(worker.long_enough.wait(), 30)
    await worker.stop()
    assert not failures
    assert totals(worker._metrics.registry).keys() == {counted}


async def test_a_partition_that_ends_before_the_position_is_noted() -> None:
    worker = make_worker(OffsetOutOfRangeError({ORDERS[1]: 50}))
    worker.often = 1
    worker.start(lambda _: None)
    await worker.long_enough.wait()
    await worker.stop()
    assert [worker._start_offsets[source].is_unconfirmed for source in ORDERS[:2]] == [False, True]


async def test_a_stuck_consumer_ends_the_service_at_once() -> None:
    worker = make_worker(StuckConsumerError("nothing is received"))
    assert await failure_of(worker) is worker.error
    assert worker.attempts == 1


async def test_a_replica_that_is_refused_as_a_member_tries_again_for_a_limited_time() -> None:
    """A former coordinator may have refused it, or the rebalance is on its way."""
    worker = make_worker(NotAMemberError("no member of the group any more"))
    passed_s = count(step=STUCK_AFTER_S / 3)
    worker._monotonic_s = lambda: next(passed_s)
    assert isinstance(await failure_of(worker), StuckConsumerError)
    assert worker.attempts == 5  # at 0, 30, 60 and 90 s; the one at 120 s is too late
    assert totals(worker._metrics.registry) == {"retries_fenced": 5}


async def test_a_commit_ends_the_time_since_a_replica_was_refused_as_a_member() -> None:
    worker, attempt = make_worker(NotAMemberError("no member of the group any more")), Attempt(FakeConsumer(), [])
    worker._processing = attempt.processing
    worker._monotonic_s = lambda: 0.0
    worker._after_refusal(NotAMemberError("refused"))
    worker._committed({ORDERS[0]: 7}, [])
    worker._monotonic_s = lambda: 2 * STUCK_AFTER_S
    worker._after_refusal(NotAMemberError("refused"))
    await attempt.end()


async def test_a_commit_is_progress_for_the_partitions_that_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a producer quota the fetch that is processed may take minutes."""
    worker, attempt = make_worker(RuntimeError("refused")), Attempt(FakeConsumer(), [])
    worker._processing = attempt.processing
    for waits in (True, False):
        worker._health._beats.clear()
        monkeypatch.setattr(attempt.processing, "waits_for_others", {ORDERS[1]: waits}.get)
        worker._committed({ORDERS[0]: 7}, [])
        assert set(worker._health._beats) == ({"orders-0", "orders-1"} if waits else {"orders-0"})
    await attempt.end()


async def test_it_stops_at_a_rebalance() -> None:
    failures: list[BaseException] = []
    worker = make_worker(NotAMemberError("no member of the group any more"))
    worker.start(failures.append)
    await asyncio.sleep(0)
    await asyncio.wait_for(worker.stop(), 30)
    assert not failures
    assert worker.attempts == 1


async def test_a_stopped_worker_reports_no_health_or_metrics_of_its_partitions() -> None:
    worker = make_worker(NotAMemberError("no member of the group any more"))
    worker._metrics.progress(0, 5, 1.0, 0)
    worker.start(lambda _: None)
    assert {"orders-0", "orders-1"} <= set(worker._health._beats)
    await worker.stop()
    assert set(worker._health._beats) == {"started"}
    assert (
        worker._metrics.registry.get_sample_value(
            "pipeline_consumer_lag_records", {"topic": "orders", "partition": "0"}
        )
        is None
    )


class FailsOnce(Failing):
    """Each attempt processes one record; the logic of the second partition fails in the first attempt."""

    contexts: list[Mapping[str, object]]
    fails = True

    async def _attempt(self) -> None:
        self.contexts.append(structlog.contextvars.get_contextvars())
        consumer = FakeConsumer()
        attempt = Attempt(consumer, [FakeLogic(), FakeLogic()])
        attempt.logics[1].error = RuntimeError("refused") if self.fails else None
        self._processing, self.fails = attempt.processing, False
        consumer.put({ORDERS[1]: [0]})
        attempt.task.cancel()
        if attempt.logics[1].error is None:
            self.long_enough.set()
            await self._stopping.wait()
        else:
            await attempt.processing.run()


async def test_log_lines_have_partition_and_transaction_until_the_failure_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A new logger: the module's may have cached the settings of an earlier test in this process.
    monkeypatch.setattr(worker_module, "log", structlog.get_logger())
    worker = make_worker(RuntimeError(), FailsOnce)
    assert isinstance(worker, FailsOnce)
    worker.contexts = []
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as captured:
        worker.start(lambda _: None)
        await asyncio.wait_for(worker.long_enough.wait(), 30)
        await worker.stop()
    [failed] = [line for line in captured if line["event"].startswith("processing failed")]
    assert (failed["failed_partition"], failed["failures"]) == ("orders-1", 1)
    assert (failed["partition"], failed["transaction"]) == ("orders-1", 1)
    assert worker.contexts == [{}, {}]
    assert worker._retries.failures(ORDERS[1]) == 1
