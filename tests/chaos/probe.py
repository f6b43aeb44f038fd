"""Monitors a pipeline from outside: arrival of committed records, committed offsets and lag of each stage."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.runtime.kafka_client.closing import close_consumer, close_quietly
from tests.chaos.record_order import RecordOrder
from tests.integration.services import eventually

STAGES = {"processor": ORDERS.name, "analytics": PROCESSED_ORDERS.name, "sink": PRODUCT_METRICS.name}
DATABASE_STAGES = STAGES | {"sink-database": PRODUCT_METRICS.name}
"""With a sink that also writes into a database, at its own speed."""

Ends = Mapping[str, Mapping[int, int]]
"""By stage and partition of its input: the offset after the last committed record."""

_SAMPLE_S = 0.5
_RETRY_S = 0.2
_REQUEST_TIMEOUT_MS = 3_000
T = TypeVar("T")


class Probe:
    """An async context manager, to be used while orders flow; call ``freeze`` when they have stopped.

    While no broker is available, all calls wait.
    """

    def __init__(self, bootstrap: str, prefix: str, partitions: int, stages: Mapping[str, str] = STAGES) -> None:
        self._bootstrap = bootstrap
        self._stages = stages
        self._prefix = prefix
        self._partitions = range(partitions)
        self._admin: AIOKafkaAdminClient | None = None
        self._asking_admin = asyncio.Lock()  # so that two concurrent calls do not create two clients
        self._arrivals = _consumer(bootstrap)
        self._ends = _consumer(bootstrap)
        self._arrived_at_s: dict[TopicPartition, float] = {}
        self._committed: dict[str, dict[int, int]] = {stage: {} for stage in stages}
        self._tasks: list[asyncio.Task[None]] = []
        self.order = RecordOrder(partitions)
        """The checks of the read_committed consumer, for a pipeline with one generator that is never restarted."""
        self.stall_s = 0.0
        """The longest time without a new committed record in any one partition of `processed-orders`."""
        self.peak_lag = 0
        """The total of all stages, in records."""

    async def __aenter__(self) -> Self:
        await self._arrivals.start()
        await self._ends.start()
        self._arrivals.assign([TopicPartition(self._prefix + PROCESSED_ORDERS.name, each) for each in self._partitions])
        self._tasks = [asyncio.create_task(each) for each in (self._watch_arrivals(), self._watch_lag())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.freeze()
        await close_consumer(self._arrivals)
        await close_consumer(self._ends)
        if self._admin:
            await close_quietly(self._admin.close())

    async def freeze(self, flowed_until_s: float | None = None) -> None:
        """Stop measuring; stalls that have not ended count until ``flowed_until_s``, the monotonic time at which traffic ended."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        if flowed_until_s is not None:
            for arrived_at_s in self._arrived_at_s.values():
                self.stall_s = max(self.stall_s, flowed_until_s - arrived_at_s)

    async def ends(self) -> Ends:
        """The current last stable offsets of each stage's input."""
        return await _retry(self._ends_of_inputs)

    async def committed(self) -> Ends:
        """The committed offsets of each stage."""
        return await _retry(self._committed_by_stages)

    async def flowing(self) -> None:
        """Wait until there is a record in every partition of `processed-orders`; fails after a while."""
        await eventually(lambda: len(self._arrived_at_s) == len(self._partitions), what="orders flow")

    async def lag_of(self, *stages: str) -> int:
        """The total lag of these stages."""
        ends, committed = await self.ends(), await self.committed()
        return sum(_behind(ends[stage], committed[stage]) for stage in stages)

    async def caught_up(self) -> None:
        """Wait until every stage has committed up to the end that its input had when this was called."""
        ends = await self.ends()

        async def all_committed() -> bool:
            return not any(_behind(ends[stage], done) for stage, done in (await self.committed()).items())

        await eventually(all_committed, what="every stage has caught up")

    async def _watch_arrivals(self) -> None:
        while True:
            batches = await self._arrivals.getmany(timeout_ms=100)
            now_s = time.monotonic()
            for partition, records in batches.items():
                self._note_arrival(partition, now_s)
                self.order.add(partition.partition, records)

    def _note_arrival(self, partition: TopicPartition, now_s: float) -> None:
        since_s = now_s - self._arrived_at_s.get(partition, now_s)
        self.stall_s = max(self.stall_s, since_s)
        self._arrived_at_s[partition] = now_s

    async def _watch_lag(self) -> None:
        while True:
            self.peak_lag = max(self.peak_lag, await self.lag_of(*self._stages))
            await asyncio.sleep(_SAMPLE_S)

    async def _ends_of_inputs(self) -> Ends:
        topics = {self._prefix + topic for topic in self._stages.values()}
        partitions = [TopicPartition(topic, each) for topic in topics for each in self._partitions]
        found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
        for partition, end in (await self._ends.end_offsets(partitions)).items():
            found[partition.topic][partition.partition] = end
        return {stage: found[self._prefix + topic] for stage, topic in self._stages.items()}

    async def _committed_by_stages(self) -> Ends:
        async with self._asking_admin:
            groups = await self._groups()
        for stage, offsets in groups.items():
            known = self._committed[stage]
            for partition, position in offsets.items():
                # A coordinator that is still loading the group reports no committed offsets.
                known[partition.partition] = max(known.get(partition.partition, 0), position.offset)
        return self._committed

    async def _groups(self) -> dict[str, dict[TopicPartition, OffsetAndMetadata]]:
        if self._admin is None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
            try:
                await admin.start()
            except BaseException:
                await close_quietly(admin.close())
                raise
            self._admin = admin
        try:
            return {
                stage: await self._admin.list_consumer_group_offsets(self._prefix + stage) for stage in self._stages
            }
        except BaseException:
            admin, self._admin = self._admin, None
            await close_quietly(admin.close())
            raise


def _consumer(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=100,
    )


def _behind(ends: Mapping[int, int], committed: Mapping[int, int]) -> int:
    return sum(max(0, end - committed.get(partition, 0)) for partition, end in ends.items())


async def _retry(ask: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await ask()
        # aiokafka's admin client raises AssertionError before it has any metadata.
        except (KafkaError, OSError, AssertionError, TimeoutError):
            await asyncio.sleep(_RETRY_S)
