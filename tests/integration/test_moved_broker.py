"""The broker restarts at another address, which is in the services' bootstrap servers."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from local.broker import LocalBroker
from local.ports import free_ports
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[LocalBroker, LocalBroker]]:
    """The same broker with the same data at two addresses; it is not started."""
    first, second, zookeeper = free_ports(3)
    both = LocalBroker(tmp_path / "broker", first, zookeeper), LocalBroker(tmp_path / "broker", second, zookeeper)
    yield both
    for broker in both:
        broker.discard()


async def test_all_services_reconnect_at_the_new_address_and_lose_nothing(
    brokers: tuple[LocalBroker, LocalBroker], tmp_path: Path
) -> None:
    before, after = brokers
    await asyncio.to_thread(before.start)
    pipeline = Pipeline(f"{before.bootstrap_servers},{after.bootstrap_servers}", "", tmp_path)
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="50"))
        processor, analytics, sink = [
            await stack.enter_async_context(pipeline.service(name)) for name in ("processor", "analytics", "sink")
        ]
        await eventually(
            lambda: pipeline.output.exists() and bool(pipeline.output.read_bytes()), what="a window is closed"
        )
        await asyncio.to_thread(before.stop)
        await generator.wait_for("the broker does not answer: buffering orders")
        await asyncio.to_thread(after.start)
        for service in (generator, processor, analytics):
            await service.wait_for("the brokers have other addresses", now=[after.bootstrap_servers])
        await generator.wait_for("the broker is back")
        lines = pipeline.output.read_bytes().count(b"\n")
        await eventually(lambda: pipeline.output.read_bytes().count(b"\n") > lines + 5, what="windows close again")
        sent = await generator.all_sent()
        pipeline.kafka = after.bootstrap_servers
        report = await pipeline.verify()
        for service in (processor, analytics, sink):
            assert service.process.poll() is None
    assert report.sent == sent
