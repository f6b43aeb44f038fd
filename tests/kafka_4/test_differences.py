"""The differences documented in docs/kafka_4.md, on a real Kafka 4 broker."""

import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from libs.events.topics import LATE_ORDERS, ORDERS
from local.jars import java_command
from local.kraft_files import DEFAULT_VERSION, kafka_4_libs
from tests.brokers.kraft import KraftBroker
from tests.integration.pipeline import Pipeline

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KraftBroker]:
    with KraftBroker(tmp_path_factory.mktemp("kafka-4")) as broker:
        yield broker


@pytest.fixture
async def producer(broker: KraftBroker) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    yield producer
    await producer.stop()


def tool(broker: KraftBroker, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of Kafka's command-line tools, by its class."""
    classes = ["-cp", f"{kafka_4_libs(DEFAULT_VERSION)}/*", name]
    command = [java_command(), *classes, "--bootstrap-server", broker.bootstrap_servers, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_a_clock_far_ahead_is_accepted_where_the_broker_stamps_records(
    broker: KraftBroker, producer: AIOKafkaProducer, topic_prefix: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(broker.bootstrap_servers, topic_prefix, tmp_path)
    await pipeline.make_topics()
    ahead_ms = int(time.time() * 1000) + 2 * HOUR_MS
    await producer.send_and_wait(topic_prefix + ORDERS.name, b"no order", timestamp_ms=ahead_ms)
    with pytest.raises(InvalidTimestampError):
        await producer.send_and_wait(topic_prefix + LATE_ORDERS.name, b"", timestamp_ms=ahead_ms)


def test_the_features_of_a_new_cluster(broker: KraftBroker) -> None:
    described = tool(broker, "org.apache.kafka.tools.FeatureCommand", "describe").stdout
    levels = {line.split("\t")[0].split()[1]: line for line in described.splitlines() if line.startswith("Feature: ")}
    for name, level in (("transaction.version", 2), ("group.version", 1), ("eligible.leader.replicas.version", 1)):
        assert f"FinalizedVersionLevel: {level}" in levels[name], described


def test_min_insync_replicas_of_a_single_broker_cannot_be_set(broker: KraftBroker) -> None:
    changed = ("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "min.insync.replicas=1")
    refused = tool(broker, "org.apache.kafka.tools.ConfigCommand", *changed)
    if "ClassNotFoundException" in refused.stderr:
        refused = tool(broker, "kafka.admin.ConfigCommand", *changed)
    assert "min.insync.replicas" in refused.stdout + refused.stderr
    assert "ELR" in refused.stdout + refused.stderr
