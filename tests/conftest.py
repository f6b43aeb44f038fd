"""What all tests share."""

import gc
import os
import signal
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import settings

from local.broker import LocalBroker

# A slow machine is no failure.
settings.register_profile("pipeline", deadline=None)
settings.load_profile("pipeline")

# A shell starts what runs in its background with SIGINT ignored, which every child inherits; the programs that are
# tested with Ctrl-C have to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def leaks_are_found() -> Iterator[None]:
    """What a file's tests have left open is their failure, not that of whichever test is running when it is noticed."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real Kafka: this run's own, or the one that TEST_KAFKA_BOOTSTRAP names."""
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
