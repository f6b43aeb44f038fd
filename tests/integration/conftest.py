"""A real Kafka for the integration tests, started once a run."""

import os
import uuid
from collections.abc import Iterator

import pytest

from local.broker import LocalBroker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a broker of this run's own, or of the one that TEST_KAFKA_BOOTSTRAP names."""
    running = os.environ.get("TEST_KAFKA_BOOTSTRAP")
    if running:
        yield running
        return
    with LocalBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def topic_prefix() -> str:
    """Keeps one test's topics, groups and transactional ids apart from every other's."""
    return f"test-{uuid.uuid4().hex[:10]}-"
