"""The generator's run: orders are sent when due, none is skipped, and outages of the broker are logged."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import Reason
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.metrics import totals
from libs.runtime.service.health import Health
from services.generator import generation
from services.generator.generation import Monitor, generate
from services.generator.generator_metrics import GeneratorMetrics
from services.generator.order_sender import OrderSender, UnsentError
from services.generator.order_stream import OrderStream
from services.generator.traffic import RateRange
from tests.unit.generator_fakes import FakeProducer, settle

START_MS = 1_767_225_600_000
PARTITIONS = 3


def metrics(registry: CollectorRegistry | None = None) -> GeneratorMetrics:
    return GeneratorMetrics(registry or CollectorRegistry(), Reason, buffer_limit=1)


class SetClock:
    def __init__(self) -> None:
        self.time_s = START_MS / 1000

    def now_s(self) -> float:
        return self.time_s


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def _note(self, event: str, **fields: object) -> None:
        self.events.append(event)

    info = warning = _note


class Run:
    """A run of ``generate`` against a fake producer and a clock that the test sets."""

    def __init__(self, *, count: int | None = None, capacity: int = 1000, rate: float = 100) -> None:
        self.clock = SetClock()
        self.stop = asyncio.Event()
        self.producer = FakeProducer(confirms_at_once=True)
        self.registry = CollectorRegistry()
        self.metrics = metrics(self.registry)
        self.faults: dict[Reason, float] = {}
        self.sender = OrderSender(
            cast("Any", self.producer),
            topic="orders",
            partitions=PARTITIONS,
            capacity=capacity,
            health=Health(),
            metrics=self.metrics,
        )
        self._rate = RateRange(rate, rate)
        self._count = count

    def stream(self) -> OrderStream:
        return OrderStream(rate=self._rate, faults=self.faults, seed=1, start_ms=START_MS, now_s=START_MS / 1000)

    async def run(self) -> None:
        async with self.sender:
            monitor = Monitor(self.sender, Health(), self.metrics)
            await generate(self.stream(), self.sender, monitor, self.clock, self.stop, self._count)

    def expected(self, count: int) -> dict[int, list[bytes]]:
        stream = self.stream()
        keys = [stream.take().key for _ in range(count)]
        return {p: mine for p in range(PARTITIONS) if (mine := [k for k in keys if partition_for(k, PARTITIONS) == p])}

    def due_by(self, time_s: float) -> int:
        stream, count = self.stream(), 0
        while stream.due_ms <= time_s * 1000:
            stream.take()
            count += 1
        return count


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not condition():
            await settle()


async def while_running(run: Run, test: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.create_task(run.run())
    try:
        await test()
    finally:
        run.stop.set()
        await task


async def test_no_order_is_sent_before_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_LONGEST_SLEEP_S", 0.001)
    run = Run()

    async def test() -> None:
        for _ in range(5):
            run.clock.time_s += 0.7
            due = run.due_by(run.clock.time_s)
            await until(lambda due=due: run.sender.confirmed == due)  # type: ignore[misc]
            await settle()
            assert run.sender.confirmed == due

    await while_running(run, test)


async def test_it_ends_after_its_count_and_catches_up_at_once() -> None:
    run = Run(count=777)
    run.clock.time_s += 3600
    async with asyncio.timeout(600):
        await run.run()
    assert run.producer.written == run.expected(777)
    assert totals(run.registry) == {"orders_sent": 777}


async def test_injected_faults_are_counted_by_kind() -> None:
    run = Run(count=1000)
    run.faults = {Reason.MALFORMED: 0.02, Reason.UNKNOWN_PRODUCT: 0.05}
    run.clock.time_s += 3600
    await run.run()
    stream = run.stream()
    broken = Counter(fault for _ in range(1000) if (fault := stream.take().fault))
    assert len(broken) == 2
    assert totals(run.registry) == {"orders_sent": 1000, **{f"faulty_orders_{kind}": n for kind, n in broken.items()}}


async def test_during_an_outage_it_stops_at_the_buffer_limit_and_skips_nothing() -> None:
    run = Run(capacity=50, count=2000)
    run.clock.time_s += 3600
    run.producer.confirms_at_once = False

    async def test() -> None:
        await until(lambda: run.sender.room == 0)
        await settle()
        assert run.sender.unconfirmed == 50
        run.producer.confirms_at_once = True
        run.producer.answer()
        await until(lambda: run.sender.confirmed == 2000)

    await while_running(run, test)
    assert run.producer.written == run.expected(2000)


async def test_a_stop_waits_for_unconfirmed_orders() -> None:
    run = Run(count=10)
    run.clock.time_s += 3600
    run.producer.confirms_at_once = False
    task = asyncio.create_task(run.run())
    await until(lambda: run.sender.unconfirmed == 10)
    run.stop.set()
    await settle()
    assert not task.done()
    run.producer.confirms_at_once = True
    run.producer.answer()
    async with asyncio.timeout(600):
        await task
    assert run.producer.written == run.expected(10)


async def test_a_stop_without_a_broker_reports_unsent_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "FLUSH_TIMEOUT_S", 0.05)
    run = Run(count=10)
    run.clock.time_s += 3600
    run.producer.confirms_at_once = False
    task = asyncio.create_task(run.run())
    await until(lambda: run.sender.unconfirmed == 10)
    run.stop.set()
    stream = run.stream()
    keys = [stream.take().key.decode() for _ in range(10)]
    with pytest.raises(UnsentError, match=f"10 orders were not confirmed, first order_id {keys[0]}, last {keys[-1]}"):
        async with asyncio.timeout(600):
            await task


async def test_a_rejected_order_ends_the_run() -> None:
    run = Run()
    run.clock.time_s += 3600
    run.producer.refusals.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(600):
            await run.run()


class FakeProgress:
    confirmed = 0
    unconfirmed = 0
    room = 10
    silent_s = 0.0

    def silent_for_s(self) -> float:
        return self.silent_s


def test_the_beginning_and_the_end_of_an_outage_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log, progress = Log(), FakeProgress()
    monkeypatch.setattr(generation, "log", log)
    monitor = Monitor(progress, Health(), metrics(), monotonic_s=lambda: 0.0)
    history = [
        (0, 0.0, 10),
        (5, 2.0, 5),
        (6, 3.0, 4),
        (7, 4.0, 3),
        (10, 9.0, 0),
        (10, 10.0, 0),
        (9, 0.1, 1),
        (0, 0.0, 10),
    ]
    for progress.unconfirmed, progress.silent_s, progress.room in history:
        monitor.update(behind_s=0)
    assert log.events == [
        "the broker does not answer: buffering orders",
        "the buffer is full: orders wait until the broker is back",
        "the broker is back",
    ]


def test_progress_is_logged_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    log, now_s = Log(), [0.0]
    monkeypatch.setattr(generation, "log", log)
    monitor = Monitor(FakeProgress(), Health(), metrics(), monotonic_s=lambda: now_s[0])
    for second in range(31):
        now_s[0] = float(second)
        monitor.update(behind_s=0)
    assert log.events == ["progress"] * 3


def test_an_idle_generator_is_healthy_and_a_stuck_one_sends_no_heartbeat() -> None:
    health, progress = Health(), FakeProgress()
    monitor = Monitor(progress, health, metrics())
    progress.unconfirmed = 1
    monitor.update(behind_s=0)
    assert not health.report()[0]
    progress.unconfirmed = 0
    monitor.update(behind_s=0)
    assert health.report()[0]
