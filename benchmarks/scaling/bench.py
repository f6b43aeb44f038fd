"""What all parts have in common: a broker, topics, a curtain before a backlog, and a clock."""

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
from benchmarks.judge import WindowsJudge
from benchmarks.orders import Workload
from benchmarks.scaling.service import Service, ServiceFailedError, core_of
from libs.events.topics import ALL_TOPICS, PRODUCT_METRICS
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics

PATIENCE_S = 90.0
_POLL_S = 0.03
_LOOK_MS = 20
_QUIET_MS = 1500
_CURTAIN_TIMEOUT_MS = 600_000


class Work(NamedTuple):
    """How long some services took together, and the most memory that one of them needed."""

    seconds: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Show:
    """For whoever waits: ``say`` what is going on, ``tell`` what was found."""

    say: Callable[[str], None]
    tell: Callable[[str], None]


class Curtain:
    """An open transaction at the front of a topic: readers of committed records see nothing of what lies behind it."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._partitions = range(partitions)
        self.topic = topic

    async def draw(self) -> None:
        await self._producer.begin_transaction()
        for partition in self._partitions:
            await self._producer.send_and_wait(self.topic, b"curtain", partition=partition)

    async def lift(self) -> None:
        """All of the topic becomes visible at once; the curtain itself, an aborted record, never does."""
        await self._producer.abort_transaction()


class Bench:
    """Where everything takes place; an async context manager.

    ``python`` runs the services; ``cores`` are all that may be used.
    """

    def __init__(self, bootstrap_servers: str, python: str, cores: frozenset[int], directory: Path, show: Show) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._python = python
        self.cores = cores
        self.directory = directory
        self.say, self.tell = show.say, show.tell
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
        """Before the topics and groups of one run."""
        self._prefixes += 1
        return f"{name}-{self._prefixes}-"

    async def make_topics(self, prefix: str, partitions: int) -> None:
        """The pipeline's topics, as the services make them."""
        settings = ServiceSettings(
            kafka_bootstrap_servers=self.bootstrap_servers, topic_prefix=prefix, topic_partitions=partitions
        )
        await ensure_topics(settings, ALL_TOPICS)

    def stored_bytes(self) -> int:
        """The size of all that the broker has written to its logs, those of offsets and transactions included."""
        size = 0
        for partition in (self.directory / "broker" / "data" / "kafka").iterdir():
            with suppress(FileNotFoundError, NotADirectoryError):  # of a topic that is being deleted; no partition
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
        """A service that is not started yet; it is stopped at the end."""
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
        """Replicas of a service, started, each on a core of its own as far as there are any."""
        with ExitStack() as stack:
            services = [
                stack.enter_context(self.service(name, prefix, partitions, settings, core_of(self.cores, number)))
                for number in range(count)
            ]
            for service in services:
                service.start()
            yield services

    @asynccontextmanager
    async def curtain(self, topic: str, partitions: int) -> AsyncIterator[Curtain]:
        """A curtain that can be drawn before ``topic``."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            transactional_id=f"curtain-{topic}",
            transaction_timeout_ms=_CURTAIN_TIMEOUT_MS,
        ) as producer:
            yield Curtain(producer, topic, partitions)

    async def work_off(
        self, services: Sequence[Service], partitions: int, curtain: Curtain, done: Callable[[], Awaitable[bool]]
    ) -> Work:
        """Lift ``curtain`` once all partitions are taken, and take the time until all is ``done``."""
        await until_taken(services, partitions)
        cpu_s, since_s = sum(service.cpu_s for service in services), time.monotonic()
        await curtain.lift()
        await until(done, *services)
        seconds = time.monotonic() - since_s
        cpu_s = sum(service.cpu_s for service in services) - cpu_s
        return Work(seconds, cpu_s, max(service.peak_bytes for service in services))

    async def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """Where each partition ends, for a reader of uncommitted records."""
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        return {each.partition: offset for each, offset in (await self._consumer.end_offsets(wanted)).items()}

    async def committed(self, group: str) -> dict[int, int]:
        """The group's committed offset by partition of its only topic; none while the group has no coordinator yet."""
        try:
            found = await self._admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return {}
        return {each.partition: offset.offset for each, offset in found.items()}

    async def read_up_to(self, group: str, ends: Mapping[int, int]) -> bool:
        """Whether the group has committed all that lies before ``ends``."""
        committed = await self.committed(group)
        return all(committed.get(partition, -1) >= end for partition, end in ends.items() if end)

    @asynccontextmanager
    async def metrics(self, prefix: str, partitions: int, truth: Workload) -> AsyncIterator["Metrics"]:
        """The analytics' output, judged."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        async with consumer:
            consumer.assign([TopicPartition(prefix + PRODUCT_METRICS.name, number) for number in range(partitions)])
            yield Metrics(consumer, WindowsJudge(truth))


class Metrics:
    """What a reader of committed records has seen of the metrics so far."""

    def __init__(self, consumer: AIOKafkaConsumer, judge: WindowsJudge) -> None:
        self._consumer = consumer
        self._judge = judge

    async def complete(self) -> bool:
        """Whether each window has come, after reading what there is."""
        await self._read(_LOOK_MS)
        return self._judge.complete

    async def finish(self) -> str:
        """The verdict, when nothing has come for a while: what is missing now was lost."""
        await self._read(_QUIET_MS)
        return str(self._judge.verdict())

    async def _read(self, timeout_ms: int) -> None:
        while fetched := await self._consumer.getmany(timeout_ms=timeout_ms):
            for record in (record for records in fetched.values() for record in records):
                self._judge.metric(record.value or b"null")


async def until_taken(services: Sequence[Service], partitions: int) -> None:
    """Wait until every partition is worked by one of ``services``, and each of them has its share."""

    async def taken() -> bool:
        shares = [service.assigned for service in services]
        given = sorted(partition for share in shares for partition in share or ())
        return (
            None not in shares
            and given == list(range(partitions))
            and all(service.works_its_partitions for service in services)
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
