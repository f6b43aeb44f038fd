"""The generator's main loop: sends each order when it is due, and logs progress."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from libs.events.dead_letters import Reason
from libs.events.topics import ORDERS
from libs.runtime.clock import Clock
from libs.runtime.logs import debugging
from libs.runtime.service.health import Health
from services.generator.generator_metrics import GeneratorMetrics
from services.generator.order_sender import OrderSender
from services.generator.order_stream import OrderRecord, OrderStream

log = structlog.get_logger()

FLUSH_TIMEOUT_S = 8.0

_CHUNK = 200  # orders sent before yielding to the event loop: two or three milliseconds
_SHORTEST_SLEEP_S = 0.005  # above 200 orders a second, several are sent at a time
_LONGEST_SLEEP_S = 1.0
_REPORT_EVERY_S = 10.0
_SILENT_AFTER_S = 3.0


class Progress(Protocol):
    """The sender's state that the monitor reads."""

    confirmed: int

    @property
    def unconfirmed(self) -> int: ...
    @property
    def room(self) -> int: ...
    def silent_for_s(self) -> float: ...


class Monitor:
    """Logs progress every ten seconds, and once when the broker stops responding and when it responds again."""

    def __init__(
        self,
        sender: Progress,
        health: Health,
        metrics: GeneratorMetrics,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sender = sender
        self._health = health
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._reported_s = monotonic_s()
        self._reported = 0
        self._away = False
        self._full = False
        self.faulty = 0
        """How many of the orders taken so far were broken on purpose."""

    def count_fault(self, fault: Reason) -> None:
        """Count an injected fault."""
        self.faulty += 1
        self._metrics.faulty[fault].inc()

    def update(self, *, behind_s: float) -> None:
        """Called at least once a second; ``behind_s`` is how far event time is behind the clock."""
        self._metrics.buffered.set(self._sender.unconfirmed)
        self._metrics.behind.set(max(behind_s, 0.0))
        if not self._sender.unconfirmed:
            self._health.beat("connected")
        self._check_broker()
        elapsed_s = self._monotonic_s() - self._reported_s
        if elapsed_s >= _REPORT_EVERY_S:
            log.info(
                "progress",
                orders_sent=self._sender.confirmed,
                orders_sent_per_s=round((self._sender.confirmed - self._reported) / elapsed_s, 1),
                faulty=self.faulty,
                buffered=self._sender.unconfirmed,
                behind_s=round(max(behind_s, 0.0), 1),
            )
            self._reported_s += elapsed_s
            self._reported = self._sender.confirmed

    def _check_broker(self) -> None:
        silent_s = self._sender.silent_for_s()
        if silent_s < _SILENT_AFTER_S:
            if self._away:
                log.info("the broker is back", buffered=self._sender.unconfirmed)
            self._away = self._full = False
            return
        if not self._away:
            log.warning("the broker does not answer: buffering orders", silent_s=round(silent_s, 1))
            self._away = True
        if not self._full and self._sender.room <= 0:
            log.warning("the buffer is full: orders wait until the broker is back", buffered=self._sender.unconfirmed)
            self._full = True


async def generate(
    stream: OrderStream, sender: OrderSender, monitor: Monitor, clock: Clock, stop: asyncio.Event, count: int | None
) -> None:
    """Send ``count`` orders (None: without end), none before it is due; returns when all are confirmed or asked to stop.

    An order is due at its timestamp. Overdue orders, of a backfill or after an outage, are sent as fast as the broker
    accepts them; none is skipped.

    Raises:
        UnsentError: the broker rejected orders, or did not confirm them within ``FLUSH_TIMEOUT_S`` after ``stop``.
    """
    taken = 0
    while not stop.is_set() and (count is None or taken < count):
        now_ms = clock.now_s() * 1000
        monitor.update(behind_s=(now_ms - stream.due_ms) / 1000)
        sender.raise_failure()
        debug = debugging()
        chunk_end = taken + min(_CHUNK, sender.room)
        if count is not None:
            chunk_end = min(chunk_end, count)
        while taken < chunk_end and stream.due_ms <= now_ms:
            event_time_ms = stream.due_ms
            record = stream.take()
            partition = sender.put(record.key, record.value, event_time_ms)
            if record.fault is not None:
                monitor.count_fault(record.fault)
            if debug:
                _log_order(record, partition)
            taken += 1
        if sender.room <= 0:
            await sender.wait_for_change(_LONGEST_SLEEP_S)
        elif stream.due_ms <= now_ms:
            await asyncio.sleep(0)
        else:
            due_in_s = stream.due_ms / 1000 - clock.now_s()
            await _pause(stop, min(max(due_in_s, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S))
    await _flush(sender, monitor, stop)


def _log_order(record: OrderRecord, partition: int) -> None:
    log.debug(
        "order queued",
        order_id=record.key.decode(),
        to_topic=ORDERS.name,
        to_partition=partition,
        fault=record.fault,
    )


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _flush(sender: OrderSender, monitor: Monitor, stop: asyncio.Event) -> None:
    deadline_s: float | None = None
    while sender.unconfirmed:
        monitor.update(behind_s=0.0)
        sender.raise_failure()
        if stop.is_set():
            deadline_s = deadline_s or time.monotonic() + FLUSH_TIMEOUT_S
            if time.monotonic() >= deadline_s:
                raise sender.unsent_error(
                    f"the broker did not answer within {FLUSH_TIMEOUT_S:g} s",
                    advice="start the broker, then the generator; some of these orders may have arrived all the same",
                )
        await sender.wait_for_change(0.25)
    monitor.update(behind_s=0.0)
