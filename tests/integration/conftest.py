"""Fixtures: a pipeline for each test, a connection for transactions, and an admin client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from libs.events.topics import ALL_TOPICS
from libs.runtime.transactions.connection import BrokerConnection
from tests.integration.pipeline import Pipeline


@pytest.fixture
def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    """Has no topics yet."""
    return Pipeline(kafka, topic_prefix, tmp_path)


@pytest.fixture
async def topics(pipeline: Pipeline) -> None:
    """Creates all of the pipeline's topics."""
    await pipeline.make_topics()


@pytest.fixture
async def connection(pipeline: Pipeline, topics: None) -> AsyncIterator[BrokerConnection]:
    """A connection to the broker, with all of the pipeline's topics created."""
    connection = await BrokerConnection.open(pipeline.kafka, [pipeline.prefix + topic.name for topic in ALL_TOPICS])
    yield connection
    await connection.close()


@pytest.fixture
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    yield admin
    await admin.close()
