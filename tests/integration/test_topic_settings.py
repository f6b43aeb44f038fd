"""Topics that another program has created, and a broker with automatic topic creation."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from structlog.testing import capture_logs

from libs.events.topics import ALL_TOPICS, ORDERS, ORDERS_DLQ, PRODUCT_METRICS
from libs.runtime.errors import TopicMismatchError
from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.topics.creation import ensure_topics
from libs.runtime.topics.topic import Topic
from libs.runtime.transactions.connection import BrokerConnection
from local.broker import LocalBroker
from local.kafka_files import KafkaFiles
from services.generator.order_sender import idempotent_producer
from tests.integration.command_line import run_command
from tests.integration.dead_letters import output_of
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import eventually

MIB = 1024 * 1024
CODECS = ("gzip", "snappy", "lz4", "zstd")


class AutoCreatingFiles(KafkaFiles):
    def write(self) -> None:
        super().write()
        properties = self.directory / "kafka.properties"
        text = properties.read_text()
        assert "auto.create.topics.enable=false" in text
        properties.write_text(text.replace("auto.create.topics.enable=false", "auto.create.topics.enable=true"))


class AutoCreatingBroker(LocalBroker):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        files = self._files
        self._files = AutoCreatingFiles(files.directory, files.libs, files.kafka_port, files.zookeeper_port)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with AutoCreatingBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap_servers


async def alter(admin: AIOKafkaAdminClient, topic: str, **config: str) -> None:
    changed = {name.replace("_", "."): value for name, value in config.items()}
    (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, changed)])
    assert all(code == 0 for code, *_ in answer.resources)  # type: ignore[attr-defined]


async def send(pipeline: Pipeline, partition: int, *values: bytes, codec: str | None = None) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=pipeline.kafka,
        compression_type=codec,
        max_request_size=16 * MIB,
        max_batch_size=16 * MIB,
    )
    async with producer:
        for value in values:
            await producer.send_and_wait(pipeline.prefix + ORDERS.name, value, partition=partition)


def orders(count: int, seed: int) -> list[bytes]:
    return [orjson.dumps(order) for order in history(count, 5, seed, end_s=time.time() - 3600)]


async def one_line_of(pipeline: Pipeline, *command: str) -> str:
    code, _, err = await run_command(pipeline, *command)
    assert code == 1
    (line,) = err.splitlines()
    return line


async def test_metadata_requests_do_not_create_topics(pipeline: Pipeline, admin: AIOKafkaAdminClient) -> None:
    name = pipeline.prefix + ORDERS.name
    commands = (("verify",), ("dead-letters", "list"), ("watch",), ("status",))
    for line in await asyncio.gather(*(one_line_of(pipeline, *command) for command in commands)):
        assert "there is no topic" in line
        assert name in line
    consumer = AIOKafkaConsumer(**consumer_arguments(pipeline.settings(), "processor"))
    await consumer.start()
    consumer.subscribe([name])
    await consumer.getmany(timeout_ms=1000)
    await consumer.stop()
    producer = idempotent_producer(pipeline.kafka)
    await producer.start()
    with suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(producer.partitions_for(name), 1)
    await producer.stop()
    await (await BrokerConnection.open(pipeline.kafka, [name])).close()
    topics = await admin.list_topics()
    assert not [topic for topic in topics if topic.startswith(pipeline.prefix)]
    await admin._send_request(MetadataRequest([name], allow_auto_topic_creation=True))

    async def is_created() -> bool:
        return name in await admin.list_topics()

    await eventually(is_created)


async def test_topics_created_by_the_services_cause_no_warning(pipeline: Pipeline) -> None:
    with capture_logs() as lines:
        await pipeline.make_topics()
    assert [line["event"] for line in lines] == ["topic created"] * len(ALL_TOPICS)


async def test_services_refuse_to_start_with_topic_settings_that_lose_orders(
    pipeline: Pipeline, admin: AIOKafkaAdminClient
) -> None:
    wrong = [
        (ORDERS, {"cleanup.policy": "compact"}, "cleanup.policy=compact"),
        (PRODUCT_METRICS, {"min.insync.replicas": "2"}, "min.insync.replicas=2"),
    ]
    for topic, config, message in wrong:
        await admin.create_topics([NewTopic(pipeline.prefix + topic.name, 6, 1, topic_configs=config)])
        with pytest.raises(TopicMismatchError, match=message) as refused:
            await ensure_topics(pipeline.settings(), [topic])
        assert pipeline.prefix + topic.name in str(refused.value)
        assert "kafka-configs.sh" in refused.value.advice


async def test_manually_created_topics_cause_warnings_and_every_codec_is_read(
    pipeline: Pipeline, admin: AIOKafkaAdminClient
) -> None:
    by_hand = [topic for topic in ALL_TOPICS if topic.name != "analytics-state"]
    await admin.create_topics([NewTopic(pipeline.prefix + topic.name, 6, 1) for topic in by_hand])
    name = pipeline.prefix + ORDERS.name
    async with AsyncExitStack() as stack:
        processor = await stack.enter_async_context(pipeline.service("processor"))
        for service in ("analytics", "sink"):
            await stack.enter_async_context(pipeline.service(service))
        await processor.wait_for("partition started")
        warned = {
            (line["topic"].removeprefix(pipeline.prefix), line["setting"])
            for line in processor.events()
            if line["event"] == "a topic's setting breaks a guarantee"
        }
        derived = {(topic, "max.message.bytes") for topic in ("processed-orders", "orders-dlq", "late-orders")}
        assert warned == {("orders", "compression.type"), ("orders", "message.timestamp.type")} | derived
        for partition, codec in enumerate(CODECS):
            await send(pipeline, partition, *orders(10, seed=partition), codec=codec)
        for number, codec in enumerate(CODECS):  # compressed by the broker
            await alter(admin, name, compression_type=codec)
            await send(pipeline, 5, *orders(10, seed=10 + number))
        report = await pipeline.verify()
    assert (report.sent, report.processed) == (80, 80)


async def test_a_record_that_is_too_large_becomes_a_dead_letter_and_does_not_block_its_partition(
    pipeline: Pipeline, admin: AIOKafkaAdminClient
) -> None:
    invalid = b"?" * (3 * MIB)
    large, larger = (
        orjson.dumps(order | {"note": "x" * size})
        for order, size in zip(history(2, 5, seed=50, end_s=time.time() - 3600), (2 * MIB, 3 * MIB), strict=True)
    )
    await pipeline.make_topics()
    await alter(admin, pipeline.prefix + ORDERS.name, **_with(ORDERS, max_message_bytes=str(8 * MIB)))
    await alter(admin, pipeline.prefix + ORDERS_DLQ.name, **_with(ORDERS_DLQ, max_message_bytes=str(5 * MIB // 2)))
    for partition, value in ((1, large), (2, invalid), (3, larger)):
        await send(pipeline, partition, value, *orders(10, seed=60 + partition))
    async with AsyncExitStack() as stack:
        for service in ("processor", "analytics", "sink"):
            await stack.enter_async_context(pipeline.service(service))
        report = await pipeline.verify()
        assert (report.sent, report.processed, report.dead_letters) == (33, 30, {"too_large": 3})
        letters = {dict(each.headers)["source.partition"]: each for each in await pipeline.read(ORDERS_DLQ.name)}
    assert letters[b"1"].value == large
    for source, value in ((b"2", invalid), (b"3", larger)):
        assert letters[source].value is None
        assert dict(letters[source].headers)["source.value.bytes"] == b"%d" % len(value)
    listed = orjson.loads(await output_of(pipeline, "list", "--json"))["reasons"]
    assert listed["too_large"]["letters"] == 3
    plan = await output_of(pipeline, "replay", "--all", "--dry-run")
    assert "2 cannot be replayed, because they were too large to be kept" in plan
    assert "1 to be replayed" in plan


def _with(topic: Topic, **config: str) -> dict[str, str]:
    """A topic's declared settings with changes, since altering one resets all others."""
    return {name.replace(".", "_"): value for name, value in topic.config.items()} | config
