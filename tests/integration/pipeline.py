"""A separate pipeline for a test: short windows, its own topics, and orders in partitions that the test chooses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.topics import ALL_TOPICS, ORDERS
from libs.runtime.clock import SystemClock
from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.exactly_once.worker import ReplicaWorker
from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.kafka_client.stage_consumer import StageConsumer
from libs.runtime.service.health import Health
from libs.runtime.topics.creation import ensure_topics
from libs.runtime.topics.topic import Topic
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from services.processor.order_processor import make_stage
from services.processor.processor_settings import ProcessorSettings
from tests.integration.committed_offsets import CommittedOffsets
from tests.integration.services import HANGS_AFTER_S, ServiceProcess, eventually
from verification.report import Report as VerificationReport
from verification.topic_reader import Record, TopicReader
from verification.verify import verify

WINDOW_S = 5
OrderFields = dict[str, object]


def no_member(group: str) -> GroupMember:
    """A ``GroupMember`` without membership, whose commits the broker does not fence."""
    return GroupMember(group, -1, "")


class Pipeline:
    """Starts services on its own topics, sends orders, and verifies the output."""

    def __init__(self, kafka: str, prefix: str, directory: Path, window_s: int = WINDOW_S) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.directory = directory
        self.output = directory / "metrics.json"
        self.window_s = window_s
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "TOPIC_PREFIX": prefix,
            "WINDOW_SECONDS": str(window_s),
            "IDLE_AFTER_SECONDS": "2",
            "SINK_OUTPUTS": "file",
            "SINK_OUTPUT_PATH": str(self.output),
        }

    def settings(self) -> ProcessorSettings:
        return ProcessorSettings(
            kafka_bootstrap_servers=self.kafka,
            topic_prefix=self.prefix,
            topic_partitions=int(self.env.get("TOPIC_PARTITIONS", "6")),
            topic_replication_factor=int(self.env.get("TOPIC_REPLICATION_FACTOR", "1")),
        )

    def service(self, name: str, *arguments: str, entry_file: Path | None = None, **env: str) -> ServiceProcess:
        return ServiceProcess(name, self.directory, self.env | env, *arguments, entry_file=entry_file)

    async def make_topics(self) -> None:
        await ensure_topics(self.settings(), ALL_TOPICS)

    async def make_topics_except(self, *others: Topic) -> None:
        """Create all topics except those that the test creates itself."""
        await ensure_topics(self.settings(), [topic for topic in ALL_TOPICS if topic not in others])

    async def send(self, batches: Iterable[tuple[int, Sequence[bytes | None]]]) -> None:
        """Write values into partitions of `orders`, in this order within a partition."""
        topic = self.prefix + ORDERS.name
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, max_batch_size=256 * 1024)
        await producer.start()
        try:
            deliveries = []
            for partition, values in batches:
                builder = producer.create_batch()
                for value in values:
                    if builder.append(timestamp=None, key=None, value=value) is None:
                        deliveries.append(await producer.send_batch(builder, topic, partition=partition))
                        builder = producer.create_batch()
                        builder.append(timestamp=None, key=None, value=value)
                deliveries.append(await producer.send_batch(builder, topic, partition=partition))
            await asyncio.gather(*deliveries)
        finally:
            await producer.stop()

    async def commit(self, group: str, topic: str, offset: int, partition: int = 0) -> None:
        """Commit ``offset`` of a partition of the topic for ``group``, which has no members."""
        source = TopicPartition(self.prefix + topic, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka, group_id=self.prefix + group, enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([source])
        await consumer.commit({source: offset})
        await consumer.stop()

    async def read(self, topic: str) -> list[Record]:
        """All committed records of ``topic``."""
        name = self.prefix + topic
        async with TopicReader(self.kafka) as reader:
            return [
                each async for records in reader.read(name, {}, await reader.settled_ends(name)) for each in records
            ]

    async def delete_records(self, topic: str, share: Callable[[int], int]) -> None:
        """Delete the first records of each partition of ``topic``; ``share`` says how many, by the partition's end."""
        name = self.prefix + topic
        async with TopicReader(self.kafka) as reader:
            ends = await reader.ends(name)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            before = {TopicPartition(name, number): RecordsToDelete(share(end)) for number, end in ends.items()}
            await admin.delete_records(before)
        finally:
            await admin.close()

    async def has_records(self, topic: str) -> bool:
        """Whether any partition of ``topic`` has had a record."""
        consumer = AIOKafkaConsumer(**consumer_arguments(self.settings(), group=None))
        await consumer.start()
        try:
            partitions = [TopicPartition(self.prefix + topic, number) for number in range(6)]
            return any((await consumer.end_offsets(partitions)).values())
        finally:
            await consumer.stop()

    async def process_partition_alone(self, partition: int) -> None:
        """Process one partition of `orders` to its end with the processor's worker."""
        async with self.single_worker(partition, no_member(f"{self.prefix}processor")) as worker:
            await eventually(worker.at_the_end)

    @asynccontextmanager
    async def single_worker(self, partition: int, member: GroupMember) -> AsyncIterator["SingleWorker"]:
        """Run the processor's worker on one partition of `orders`, with the membership ``member``; it must not fail."""
        settings = self.settings()
        registry = CollectorRegistry()
        stage = make_stage(settings, SystemClock(), registry)
        consumer = StageConsumer(fetches_apart_s=stage.fetches_apart_s, **consumer_arguments(settings, stage.name))
        await consumer.start()
        coordinator: Any = consumer._coordinator
        coordinator.generation, coordinator.member_id = member.generation, member.member_id
        source = TopicPartition(self.prefix + ORDERS.name, partition)
        consumer.assign([source])
        health = Health()
        watch = BrokerWatch(consumer, [source], health, (), SystemClock())
        ids = StageTransactionalIds(self.prefix, stage.name)
        worker = ReplicaWorker(stage, settings, consumer, [source], member, ids, watch, health, TransactionSize())
        committed = CommittedOffsets(self.kafka, member.group)
        failures: list[BaseException] = []
        worker.start(failures.append)
        end = (await consumer.end_offsets([source]))[source]
        try:
            yield SingleWorker(registry, source, int(end), committed, failures)
        finally:
            await worker.stop()
            await committed.close()
            await consumer.stop()
        assert not failures, failures

    async def verify(
        self, *, wait_closed_s: float = HANGS_AFTER_S, settle_s: float = HANGS_AFTER_S
    ) -> VerificationReport:
        """The verification's report; fails the test if there is any difference."""
        report = await verify(
            self.kafka,
            topic_prefix=self.prefix,
            output=self.output,
            window_seconds=self.window_s,
            wait_closed_s=wait_closed_s,
            settle_s=settle_s,
        )
        assert report.ok, orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2, default=str).decode()
        return report


@dataclass(frozen=True)
class SingleWorker:
    """The observable state of a running worker."""

    registry: CollectorRegistry
    source: TopicPartition
    end: int
    committed: CommittedOffsets
    failures: list[BaseException]

    async def at_the_end(self) -> bool:
        """Whether it has committed up to the end that the partition had at its start."""
        assert not self.failures, self.failures
        return (await self.committed.fetch(self.source) or 0) >= self.end


def history(count: int, span_s: float, seed: int, end_s: float | None = None) -> list[OrderFields]:
    """``count`` valid orders spread over the ``span_s`` before ``end_s`` (or now), each up to 4 s out of order."""
    random = Random(seed)
    start_s = (end_s or time.time()) - span_s
    return [
        {
            "order_id": f"{seed}-{number}",
            "user_id": f"user-{random.randrange(1000)}",
            "product_id": f"prod-{random.randrange(1, 6)}",
            "amount": random.randrange(1000, 50_001) / 100,
            "timestamp": round(start_s + span_s * number / count - random.uniform(0, 4), 3),
        }
        for number in range(count)
    ]
