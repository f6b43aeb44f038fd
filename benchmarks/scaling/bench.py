"""The test bench that all parts share: a broker, topics, services, and the measurement of a backlog."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition

from benchmarks.inputs import Inputs
from benchmarks.orders import Workload
from benchmarks.output_check import WindowsCheck
from benchmarks.scaling.service import Service, ServiceFailedError, core_of
from libs.events.topics import ALL_TOPICS, PRODUCT_METRICS
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics

PATIENCE_S = 90.0
_POLL_S = 0.03
_LOOK_MS = 20
_QUIET_MS = 1500
_BLOCKING_TIMEOUT_MS = 600_000
_INDEX_INTERVAL_BYTES = 4096
"""Kafka's default of ``index.interval.bytes``."""


class Work(NamedTuple):
    """The time that some services took together, and the highest peak memory among them."""

    seconds: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Progress:
    """Progress output: ``say`` shows the current step, ``report`` prints a result."""

    say: Callable[[str], None]
    report: Callable[[str], None]


class BlockingTransaction:
    """A transaction that is held open at the beginning of a topic, so that read_committed consumers see nothing after it.

    A backlog can so be written while the services already run, and becomes visible to all of them at the same time.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._partitions = range(partitions)
        self.topic = topic

    async def open(self) -> None:
        await self._producer.begin_transaction()
        for partition in self._partitions:
            await self._producer.send_and_wait(self.topic, b"blocker", partition=partition)

    async def abort(self) -> None:
        """Make all of the topic visible at once, except the transaction's own record, which is aborted."""
        await self._producer.abort_transaction()


class Bench:
    """A broker's clients and the services under test; an async context manager.

    ``python`` is the interpreter of the services; ``cores`` are the cores that may be used.
    """

    def __init__(
        self, bootstrap_servers: str, python: str, cores: frozenset[int], directory: Path, progress: Progress
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._python = python
        self.cores = cores
        self.directory = directory
        self.say, self.report = progress.say, progress.report
        self.inputs = Inputs(bootstrap_servers)
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, max_batch_size=64 * 1024)
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
        self._stack = AsyncExitStack()
        self._services = self._prefixes = 0

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.inputs)
        for client, close in (
            (self.producer, self.producer.stop),
            (self._admin, self._admin.close),
            (self._consumer, self._consumer.stop),
        ):
            await client.start()  # type: ignore[no-untyped-call]  # the consumer's
            self._stack.push_async_callback(close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def new_prefix(self, name: str) -> str:
        """A new prefix for the topics and groups of one run."""
        self._prefixes += 1
        return f"{name}-{self._prefixes}-"

    async def make_topics(self, prefix: str, partitions: int) -> None:
        """Create the pipeline's topics as the services do."""
        settings = ServiceSettings(
            kafka_bootstrap_servers=self.bootstrap_servers, topic_prefix=prefix, topic_partitions=partitions
        )
        await ensure_topics(settings, ALL_TOPICS)

    async def write_first_index_entries(self, prefix: str, partitions: int) -> None:
        """Make the broker extend the index files of all partitions, with records that are aborted.

        A batch after ``index.interval.bytes`` gets the first entry of a segment's two indexes. They are mapped files, so the
        file system allocates a block for each then, which takes the broker up to 20 ms. A pipeline in use is past that.
        """
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers, transactional_id=f"{prefix}first-index-entries"
        ) as producer:
            await producer.begin_transaction()
            for size_bytes in (_INDEX_INTERVAL_BYTES, 1):
                await asyncio.gather(
                    *(
                        producer.send_and_wait(prefix + topic.name, bytes(size_bytes), b"key", partition=partition)
                        for topic in ALL_TOPICS
                        for partition in range(partitions)
                    )
                )
            await producer.abort_transaction()

    def stored_bytes(self) -> int:
        """The total size of the broker's log segments, including internal topics."""
        size = 0
        for partition in (self.directory / "broker" / "data" / "kafka").iterdir():
            with suppress(
                FileNotFoundError, NotADirectoryError
            ):  # a topic that is being deleted, or not a partition's folder
                size += sum(file.stat().st_size for file in os.scandir(partition) if file.name.endswith(".log"))
        return size

    @contextmanager
    def service(
        self,
        name: str,
        prefix: str,
        partitions: int,
        settings: Mapping[str, str] | None = None,
        core: int | None = None,
    ) -> Iterator[Service]:
        """A service that is not started yet; it is stopped at the end of the block."""
        common = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "TOPIC_PREFIX": prefix,
            "TOPIC_PARTITIONS": str(partitions),
        }
        self._services += 1
        log = self.directory / f"{self._services}-{prefix}{name}.log"
        service = Service(
            self._python, name, log, {**common, **(settings or {})}, self.cores if core is None else {core}
        )
        try:
            yield service
        finally:
            service.stop()

    @contextmanager
    def replicas(
        self, name: str, count: int, prefix: str, partitions: int, settings: Mapping[str, str] | None = None
    ) -> Iterator[list[Service]]:
        """Started replicas of a service, each on its own core as far as there are enough."""
        with ExitStack() as stack:
            services = [
                stack.enter_context(self.service(name, prefix, partitions, settings, core_of(self.cores, number)))
                for number in range(count)
            ]
            for service in services:
                service.start()
            yield services

    @asynccontextmanager
    async def blocking_transaction(self, topic: str, partitions: int) -> AsyncIterator[BlockingTransaction]:
        """A blocking transaction for ``topic``, which is not open yet."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            transactional_id=f"blocker-{topic}",
            transaction_timeout_ms=_BLOCKING_TIMEOUT_MS,
        ) as producer:
            yield BlockingTransaction(producer, topic, partitions)

    async def measure_backlog(
        self,
        services: Sequence[Service],
        partitions: int,
        blocker: BlockingTransaction,
        done: Callable[[], Awaitable[bool]],
    ) -> Work:
        """Abort ``blocker`` once all partitions are assigned, and measure the time until ``done``."""
        await until_assigned(services, partitions)
        cpu_s, since_s = sum(service.cpu_s for service in services), time.monotonic()
        await blocker.abort()
        await until(done, *services)
        seconds = time.monotonic() - since_s
        cpu_s = sum(service.cpu_s for service in services) - cpu_s
        return Work(seconds, cpu_s, max(service.peak_bytes for service in services))

    async def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """The end offset of each partition (read_uncommitted)."""
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        return {each.partition: offset for each, offset in (await self._consumer.end_offsets(wanted)).items()}

    async def committed(self, group: str) -> dict[int, int]:
        """The group's committed offsets by partition of its only topic; empty while the group has no coordinator."""
        try:
            found = await self._admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return {}
        return {each.partition: offset.offset for each, offset in found.items()}

    async def read_up_to(self, group: str, ends: Mapping[int, int]) -> bool:
        """Whether the group has committed up to ``ends``."""
        committed = await self.committed(group)
        return all(committed.get(partition, -1) >= end for partition, end in ends.items() if end)

    @asynccontextmanager
    async def metrics(self, prefix: str, partitions: int, truth: Workload) -> AsyncIterator["Metrics"]:
        """Reads and checks the analytics' output."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        async with consumer:
            consumer.assign([TopicPartition(prefix + PRODUCT_METRICS.name, number) for number in range(partitions)])
            yield Metrics(consumer, WindowsCheck(truth))


class Metrics:
    """The metrics that a read_committed consumer has read so far."""

    def __init__(self, consumer: AIOKafkaConsumer, check: WindowsCheck) -> None:
        self._consumer = consumer
        self._check = check

    async def complete(self) -> bool:
        """Read all available metrics; returns whether there is one for each window."""
        await self._read(_LOOK_MS)
        return self._check.complete

    async def finish(self) -> str:
        """The differences as text, once nothing has arrived for a while: metrics that are missing then were lost."""
        await self._read(_QUIET_MS)
        return str(self._check.differences())

    async def _read(self, timeout_ms: int) -> None:
        while fetched := await self._consumer.getmany(timeout_ms=timeout_ms):
            for record in (record for records in fetched.values() for record in records):
                self._check.metric(record.value or b"null")


async def until_assigned(services: Sequence[Service], partitions: int) -> None:
    """Wait until every partition is processed by one of ``services``, and each of them has an assignment."""

    async def taken() -> bool:
        shares = [service.assigned for service in services]
        all_assigned = sorted(partition for share in shares for partition in share or ())
        return (
            None not in shares
            and all_assigned == list(range(partitions))
            and all(service.has_started_its_partitions for service in services)
        )

    await until(taken, *services)


async def until(condition: Callable[[], Awaitable[bool]], *services: Service, within_s: float = PATIENCE_S) -> None:
    """Wait for ``condition``.

    Raises:
        ServiceFailedError: one of ``services`` has failed, or it took longer than ``within_s``.
    """
    deadline_s = time.monotonic() + within_s
    while not await condition():
        for service in services:
            service.check()
        if time.monotonic() > deadline_s:
            tails = "\n".join(service.program.tail(5) for service in services)
            raise ServiceFailedError(f"not within {within_s:.0f} s; the ends of the logs:\n{tails}")
        await asyncio.sleep(_POLL_S)
