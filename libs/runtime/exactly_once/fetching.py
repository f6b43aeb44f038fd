"""Reading a replica's partitions, in a loop that must not wait for records only."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from libs.runtime.timing import IDLE_INTERVAL_S, TICK_S

Fetched = Mapping[TopicPartition, Iterable[Any]]

# Longer than a tick: beginning a read anew each time is a part of what an idle replica costs.
_READ_MS = int(2 * IDLE_INTERVAL_S * 1000)


class FetchReader:
    """Takes what is fetched of all partitions.

    One ``getmany`` is under way at a time, and goes on when waiting for it ends sooner. What it has found by then belongs to
    the next ``read``.
    """

    def __init__(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        self._consumer = consumer
        self._stop = stop
        self._stopping = asyncio.ensure_future(stop.wait())
        self._reading: asyncio.Task[Fetched] | None = None

    async def read(
        self, due_in_s: float | None, commit: asyncio.Future[None] | None, *, tick_s: float = TICK_S
    ) -> Fetched | None:
        """What has been fetched; nothing after ``due_in_s`` or ``tick_s``, or when ``commit`` ends; None when stopping."""
        if self._stop.is_set():  # in a backlog there would always be something to read first
            return None
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._consumer.getmany(timeout_ms=_READ_MS))
        ends: set[asyncio.Future[Any]] = {self._reading, self._stopping}
        if commit is not None:
            ends.add(commit)
        timeout_s = tick_s if due_in_s is None else min(tick_s, due_in_s)
        await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return None if self._stop.is_set() else {}
        fetched, self._reading = self._reading.result(), None
        return fetched

    async def close(self) -> None:
        """Give up what is being read."""
        self._stopping.cancel()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._reading
