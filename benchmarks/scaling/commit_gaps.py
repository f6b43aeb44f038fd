"""Measures the longest gap between a group's offset commits, that is how long its partitions make no progress."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Collection
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from benchmarks.scaling.bench import until
from benchmarks.scaling.service import Service

_SAMPLE_S = 0.02


class CommitGaps:
    """Samples the committed offsets of ``partitions`` fifty times a second, inside its ``async with`` block."""

    def __init__(self, bootstrap_servers: str, group: str, partitions: Collection[int]) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        self._group = group
        self._offsets: dict[int, int] = {}
        self._moved_s: dict[int, list[float]] = {partition: [] for partition in partitions}
        self._sampled_s = 0.0
        self._sampling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._admin.start()
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sampling
        self._sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sampling
        await self._admin.close()

    async def _sample(self) -> None:
        while True:
            asked_s = time.monotonic()
            with contextlib.suppress(KafkaError):  # a new group has no coordinator for a moment
                offsets = await self._admin.list_consumer_group_offsets(self._group)
                for partition, committed in offsets.items():
                    number, offset = partition.partition, committed.offset
                    if number in self._moved_s and self._offsets.get(number) != offset:
                        self._offsets[number] = offset
                        self._moved_s[number].append(asked_s)
                self._sampled_s = asked_s
            await asyncio.sleep(_SAMPLE_S)

    async def all_committed(self, *services: Service) -> None:
        """Wait until each partition has a new committed offset since this call; ``services`` process them."""
        called_s = time.monotonic()

        async def sampled() -> bool:
            return self._sampled_s > called_s

        # Commits from before this call, such as those of a replica that was just killed, are in the first sample.
        await until(sampled, *services)
        since_s = self._sampled_s

        async def moved() -> bool:
            return all(moved_s and moved_s[-1] > since_s for moved_s in self._moved_s.values())

        await until(moved, *services)

    def longest_s(self, since_s: float) -> float:
        """The longest gap between two commits of a partition, or until now, that ended after ``since_s``."""
        now_s = time.monotonic()
        return max(
            later_s - earlier_s
            for moved_s in self._moved_s.values()
            for earlier_s, later_s in itertools.pairwise([*moved_s, now_s])
            if later_s >= since_s
        )
