"""Fixtures and settings of all tests."""

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from local.broker import LocalBroker
from tests.brokers.kraft import KraftBroker
from tests.worker_count import measure_rounds_per_s, worker_count

# A slow machine must not cause a failure.
settings.register_profile("pipeline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pipeline")

# Brokers of tests live for minutes: their JVM need not optimize further than its first compiler does, which takes half the CPU.
# With huge pages a broker's start takes half the page faults and a sixth less CPU time; other systems than Linux lack the option.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+IgnoreUnrecognizedVMOptions -XX:+UseTransparentHugePages"
os.environ.setdefault("JAVA_TOOL_OPTIONS", _JAVA)

# A shell starts background jobs with SIGINT ignored, which every child process inherits; the programs that are
# tested with Ctrl-C must receive it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Longest first, as measured, so that no long file is left for the end; all other files take less time. The stacks of containers
# are apart, since each takes most of the CPU while it starts.
LONG_FILES = (
    "compose/test_compose.py",
    "databases/test_exactly_once.py",
    "integration/test_local_mode.py",
    "integration/test_exactness.py",
    "integration/test_broker_addresses.py",
    "integration/test_committed_offsets.py",
    "compose/test_cluster.py",
    "security/acls/test_pipelines.py",
    "integration/test_verification_after_retention.py",
    "integration/test_dead_letter_replays.py",
    "chaos/test_short_form.py",
    "integration/test_event_time.py",
    "compose/test_secured_stack.py",
    "integration/test_recovery.py",
    "security/acls/test_each_right.py",
    "integration/test_slow_clock.py",
    "security/test_secured_pipeline.py",
    "browser/test_live_page.py",
    "compose/test_output_profiles.py",
    "chaos/test_late_requests.py",
    "integration/test_process_tree.py",
    "integration/test_local_kafka_4.py",
    "integration/test_topic_settings.py",
    "integration/test_complete_transactions.py",
    "integration/test_moved_broker.py",
    "connect/test_file_sinks.py",
    "integration/test_sink.py",
    "integration/test_topics.py",
    "integration/test_daily_report.py",
    "integration/test_metrics.py",
    "integration/test_sensor_example.py",
    "security/test_refused_logins.py",
    "integration/test_outages.py",
    "integration/test_dead_letters.py",
    "readers/test_recipes.py",
    "integration/test_membership.py",
    "integration/test_doctor.py",
    "fuzz/test_fuzzed_pipeline.py",
    "kubernetes/test_schemas.py",
)


def pytest_xdist_auto_num_workers() -> int:
    """The number of workers of ``-n auto``."""
    return worker_count(measure_rounds_per_s())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish() -> None:
    """Leave what exists after the collection out of all later garbage collections, a sixth of a second each."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def report_leaks() -> Iterator[None]:
    """Report resources that the tests of a file have not closed as their failure, not as that of a later test."""
    yield
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def restored_signal_handlers() -> Iterator[None]:
    """Processes inherit ignored signals, so those that a file's tests ignore must not stay ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real Kafka: this run's own of version TEST_KAFKA_VERSION, or TEST_KAFKA_BOOTSTRAP."""
    running = os.environ.get("TEST_KAFKA_BOOTSTRAP")
    if running:
        yield running
        return
    directory = tmp_path_factory.mktemp("kafka")
    version = os.environ.get("TEST_KAFKA_VERSION")
    with KraftBroker(directory, version=version) if version else LocalBroker(directory) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that separates a test's topics, groups and transactional ids from those of all others."""
    return f"test-{uuid.uuid4().hex[:10]}-"
