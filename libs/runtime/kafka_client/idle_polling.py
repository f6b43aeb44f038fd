"""Sends fewer requests to the brokers while a replica is idle."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiokafka import AIOKafkaConsumer

from libs.runtime.timing import FETCH_MAX_WAIT_MS, IDLE_AFTER_S, IDLE_INTERVAL_S, TICK_S


class IdlePolling:
    """Reduces the heartbeats, long polls and timers of an idle consumer to one each ``IDLE_INTERVAL_S``.

    A record ends a long poll at once, so the first record after an idle time is not delayed. A rebalance among idle
    replicas takes longer: they learn of it by a heartbeat.

    Args:
        consumer: started.
        monotonic_s: a monotonic clock, in seconds.
    """

    def __init__(self, consumer: AIOKafkaConsumer, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        # aiokafka reads these settings when it starts, and has no public way to change them afterwards.
        self._fetcher: Any = cast(Any, consumer._fetcher)  # noqa: SLF001
        # How often it checks for partitions to fetch while a fetch is in progress.
        self._plan_every_s: float = self._fetcher._fetcher_timeout  # noqa: SLF001
        self._coordinator: Any = cast(Any, consumer._coordinator)  # noqa: SLF001
        self._heartbeat: Callable[[], Awaitable[bool]] = self._coordinator._do_heartbeat  # noqa: SLF001
        self._monotonic_s = monotonic_s
        self._idle_from_s = monotonic_s() + IDLE_AFTER_S
        self._next_heartbeat_s = 0.0
        self._busy = asyncio.Event()
        self.idle = False
        self._coordinator._do_heartbeat = self._heartbeat_when_due  # noqa: SLF001

    def note(self, *, busy: bool) -> None:
        """Note whether there is work. A replica without work for ``IDLE_AFTER_S`` is idle."""
        now_s = self._monotonic_s()
        if busy:
            self._idle_from_s = now_s + IDLE_AFTER_S
        if self.idle == (idle := now_s >= self._idle_from_s):
            return
        self.idle = idle
        self._fetcher._fetch_max_wait_ms = int(IDLE_INTERVAL_S * 1000) if idle else FETCH_MAX_WAIT_MS  # noqa: SLF001
        self._fetcher._fetcher_timeout = IDLE_INTERVAL_S if idle else self._plan_every_s  # noqa: SLF001
        if idle:
            self._busy.clear()
        else:
            self._busy.set()

    @property
    def tick_s(self) -> float:
        """How long to wait for records until the next tick."""
        return IDLE_INTERVAL_S if self.idle else TICK_S

    async def _heartbeat_when_due(self) -> bool:
        if self.idle:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_heartbeat_s - self._monotonic_s()):
                    await self._busy.wait()
        sent_s = self._monotonic_s()
        is_answered = await self._heartbeat()
        # aiokafka repeats a failed heartbeat after its own short pause.
        self._next_heartbeat_s = sent_s + IDLE_INTERVAL_S if is_answered else sent_s
        return is_answered

    def close(self) -> None:
        """Restore the consumer's settings."""
        self.note(busy=True)
        self._coordinator._do_heartbeat = self._heartbeat  # noqa: SLF001
