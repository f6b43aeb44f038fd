"""Network conditions: dead bootstrap servers, slow DNS, load balancers, wrong advertised addresses."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from local.broker import LocalBroker
from local.kafka_files import Listener, ProxyPorts
from local.ports import free_ports
from tests.integration.command_line import run_command
from tests.integration.pipeline import Pipeline
from tests.integration.services import ENTRY_FILES, ROOT, ServiceProcess, eventually
from tests.kafka_proxy.faults import RequestFaults
from tests.kafka_proxy.proxy import KafkaProxy

ORDERS = 5
# Longer than a second, the interval at which event time advances, and shorter than the time between two orders.
IDLE_LIMIT_S = 3.0
SLOW = "0.25"


@pytest.fixture(scope="module")
def listeners() -> tuple[Listener, Listener]:
    """A listener that advertises a name that has to be looked up, and one that advertises an unknown name."""
    named, unreachable = free_ports(2)
    return (
        Listener("NAMED", named, "PLAINTEXT", advertised_host="localhost"),
        Listener("UNREACHABLE", unreachable, "PLAINTEXT", advertised_host="broker.invalid"),
    )


@pytest.fixture(scope="module")
def broker(listeners: tuple[Listener, Listener], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    proxy = ProxyPorts(*free_ports(2))
    with LocalBroker(tmp_path_factory.mktemp("broker"), proxy=proxy, more_listeners=listeners) as broker:
        yield broker


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def assert_exact(
    pipeline: Pipeline, wrapper: Sequence[str] = (), ready: Callable[[], bool] = lambda: True, rate: str = "10"
) -> None:
    """Run all services until ``ORDERS`` orders have been sent, ``rate`` a second, and verify the output.

    Before the first order all services are started, and ``ready`` is awaited.
    """
    entry_file = Path(wrapper[0]) if wrapper else None

    def service(name: str, **env: str) -> ServiceProcess:
        arguments = [str(ROOT / ENTRY_FILES[name])] if wrapper else []
        return pipeline.service(name, *arguments, entry_file=entry_file, **env)

    async with AsyncExitStack() as stack:
        for name in ("processor", "analytics", "sink"):
            started = await stack.enter_async_context(service(name))
            await started.healthy()
        await eventually(ready)
        generator = await stack.enter_async_context(
            service("generator", GENERATOR_RATE=rate, GENERATOR_COUNT=str(ORDERS), GENERATOR_RESTART="on-failure")
        )
        assert await generator.wait() == 0
        report = await pipeline.verify()
    assert report.sent == report.processed == ORDERS


async def test_the_pipeline_is_exact_with_dead_bootstrap_servers(
    broker: LocalBroker, silent_port: int, topic_prefix: str, tmp_path: Path
) -> None:
    (refusing_port,) = free_ports(1)
    dead = f"broker.invalid:9092,127.0.0.1:{refusing_port},127.0.0.1:{silent_port}"
    pipeline = Pipeline(f"{dead},{broker.bootstrap_servers}", topic_prefix, tmp_path)
    await assert_exact(pipeline)


async def test_the_pipeline_is_exact_with_slow_dns_lookups(
    broker: LocalBroker, listeners: tuple[Listener, Listener], topic_prefix: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(f"localhost:{listeners[0].port}", topic_prefix, tmp_path)
    pipeline.env["SLOW_DNS_S"] = "2"
    await assert_exact(pipeline, [str(ROOT / "tests/integration/slow_dns_service.py")])


async def test_the_pipeline_is_exact_behind_a_load_balancer_that_drops_idle_connections(
    broker: LocalBroker, topic_prefix: str, tmp_path: Path
) -> None:
    assert broker.proxy is not None
    faults = RequestFaults(Random(0))
    async with KafkaProxy(broker.proxy.clients, broker.proxy.broker, faults, idle_limit_s=IDLE_LIMIT_S) as proxy:
        pipeline = Pipeline(proxy.address, topic_prefix, tmp_path)
        # They include those of the two stages' transactions, since nothing has been written yet.
        await assert_exact(pipeline, ready=lambda: proxy.idle_connections >= 4, rate=SLOW)
        assert proxy.idle_resets >= ORDERS


@pytest.mark.parametrize("name", ["generator", "processor", "analytics", "sink"])
async def test_a_service_names_an_unreachable_advertised_address(
    broker: LocalBroker, listeners: tuple[Listener, Listener], topic_prefix: str, tmp_path: Path, name: str
) -> None:
    port = listeners[1].port
    pipeline = Pipeline(f"127.0.0.1:{port}", topic_prefix, tmp_path)
    async with pipeline.service(name) as service:
        message = f"a broker advertises the address broker.invalid:{port}, which cannot be reached from here"
        await eventually(lambda: any(line["event"].startswith(message) for line in service.events()), what=message)
        assert (await service.health())[0] == 503
        service.terminate()
        assert await service.wait() == 0


async def test_a_tool_names_an_unreachable_advertised_address(
    broker: LocalBroker, listeners: tuple[Listener, Listener], tmp_path: Path
) -> None:
    port = listeners[1].port
    code, _, err = await run_command(Pipeline(f"127.0.0.1:{port}", "", tmp_path), "verify")
    assert f"broker.invalid:{port}, which cannot be reached" in err
    assert code == 1
