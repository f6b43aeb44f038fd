"""Monitors a run from outside: visible output, received bytes, CPU time and memory."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks.inputs import DEAD_LETTERS, METRICS, PROCESSED
from benchmarks.orders import PARTITIONS
from benchmarks.output_check import OrdersCheck, WindowsCheck
from benchmarks.processes import Program
from benchmarks.samples import Sample
from benchmarks.sockets import ReceivedBytes

SAMPLE_EVERY_S = 0.04
# More than an idle client receives in a minute.
_ACTIVE_BYTES = 128 * 1024
_WATERMARK = ("type", b"watermark")


def _partitions(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(PARTITIONS)]


class RunMonitor:
    """Samples a run every 40 ms, and reads its metrics; an async context manager.

    ``changed_s`` is the time at which the last output became visible, ``active_s`` the time of the last activity.
    """

    def __init__(self, bootstrap_servers: str, prefix: str, programs: Sequence[Program], windows: WindowsCheck) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        self._metrics = _partitions(prefix + METRICS)
        self._outputs = _partitions(prefix + PROCESSED) + _partitions(prefix + DEAD_LETTERS)
        self._programs = programs
        self._received = ReceivedBytes(int(bootstrap_servers.rpartition(":")[2]))
        self.windows = windows
        self.samples: list[Sample] = []
        self.last_metric_s = 0.0
        self.changed_s = self.active_s = time.monotonic()
        self._active_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self._metrics)
        await self._sample()
        self._tasks = [asyncio.create_task(self._sampling()), asyncio.create_task(self._reading())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks)
        await self._consumer.stop()

    def check(self) -> None:
        """Raise the error that has ended the monitoring, if there is one."""
        for task in self._tasks:
            if task.done():
                task.result()

    @property
    def visible(self) -> int:
        """The committed records and markers in the processor's outputs."""
        return sum(self.samples[-1].visible)

    async def _sampling(self) -> None:
        while True:
            await self._sample()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _sample(self) -> None:
        ends = await self._consumer.end_offsets(self._outputs)
        usages = [program.usage() for program in self._programs]
        sample = Sample(
            time.monotonic(),
            sum(usage.cpu_s for usage in usages),
            sum(usage.rss_bytes for usage in usages),
            self._received.total(pid for program in self._programs for pid in program.pids()),
            tuple(ends[partition] for partition in self._outputs),
        )
        if not self.samples or sample.visible != self.samples[-1].visible:
            self.changed_s = self.active_s = sample.at_s
        if sample.received_bytes - self._active_bytes >= _ACTIVE_BYTES:
            self.active_s, self._active_bytes = sample.at_s, sample.received_bytes
        self.samples.append(sample)

    async def _reading(self) -> None:
        while True:
            fetched = await self._consumer.getmany(timeout_ms=1000)
            for record in (record for batch in fetched.values() for record in batch):
                self.changed_s = self.active_s = time.monotonic()
                if self.windows.metric(record.value or b""):
                    self.last_metric_s = self.changed_s


async def read_outputs(bootstrap_servers: str, prefix: str, check: OrdersCheck) -> list[int]:
    """Pass all committed records of the processor's outputs to ``check``.

    Returns:
        For each partition, as in ``Sample.visible``, the offset after the last record of the workload.
    """
    partitions = _partitions(prefix + PROCESSED) + _partitions(prefix + DEAD_LETTERS)
    behind = dict.fromkeys(partitions, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                processed = partition.topic.endswith(PROCESSED)
                for record in records:
                    if processed:
                        if record.key is None and _WATERMARK in record.headers:
                            continue
                        counts = check.processed(record.value or b"null")
                    else:
                        counts = check.dead_letter(record.key, record.value)
                    if counts:
                        behind[partition] = record.offset + 1
    finally:
        await consumer.stop()
    return [behind[partition] for partition in partitions]
