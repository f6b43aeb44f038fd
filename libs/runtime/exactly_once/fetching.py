"""Reads a replica's partitions, for a loop that also has to wait for other events."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from libs.runtime.timing import IDLE_INTERVAL_S, TICK_S

Fetched = Mapping[TopicPartition, Iterable[Any]]

# Longer than a tick: each new call of getmany() adds to the CPU time of an idle replica.
_READ_MS = int(2 * IDLE_INTERVAL_S * 1000)


class FetchReader:
    """Reads the fetched records of all partitions.

    One ``getmany`` is in progress at a time. It continues when ``read`` returns before it is done, and the next ``read`` returns
    its records.
    """

    def __init__(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        self._consumer = consumer
        self._stop = stop
        self._stopping = asyncio.ensure_future(stop.wait())
        self._reading: asyncio.Task[Fetched] | None = None

    async def read(
        self, due_in_s: float | None, commit: asyncio.Future[None] | None, *, tick_s: float = TICK_S
    ) -> Fetched | None:
        """The fetched records; none after ``due_in_s`` or ``tick_s`` or when ``commit`` ends first; None when stopping."""
        if self._stop.is_set():  # checked first: in a backlog there are always records to read
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
        """Cancel the read in progress."""
        self._stopping.cancel()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._reading
