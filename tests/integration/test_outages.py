"""The services can be started in any order, and an outage of the broker loses nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from local.broker import LocalBroker
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that is not running yet."""
    broker = LocalBroker(tmp_path / "broker")
    yield broker
    broker.stop()


async def test_services_start_before_the_broker_and_survive_its_outage(broker: LocalBroker, tmp_path: Path) -> None:
    pipeline = Pipeline(broker.bootstrap_servers, "", tmp_path)
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(pipeline.service(name)) for name in ("sink", "analytics", "processor")
        ]
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="60"))
        for service in (*services, generator):
            await service.wait_for("waiting for the broker")
            assert (await service.health())[0] == 503
        await asyncio.to_thread(broker.start)
        for service in (*services, generator):
            await service.healthy()
        await eventually(partial(pipeline.has_records, "analytics-state"), what="both stages process orders")
        broker.kill()
        await generator.wait_for("the broker does not answer: buffering orders")
        await asyncio.to_thread(broker.start)
        await generator.wait_for("the broker is back")
        sent = await generator.all_sent()
        report = await pipeline.verify()
        assert report.sent == report.processed == sent
        for service in services:
            await service.healthy()
            service.terminate()
            assert await service.wait() == 0


async def test_services_stop_cleanly_during_a_broker_outage(broker: LocalBroker, tmp_path: Path) -> None:
    pipeline = Pipeline(broker.bootstrap_servers, "", tmp_path)
    async with AsyncExitStack() as stack:
        names = ("sink", "analytics", "processor")
        services = [await stack.enter_async_context(pipeline.service(name)) for name in names]
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="60"))
        waiting = await stack.enter_async_context(pipeline.service("processor", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"))
        await waiting.wait_for("waiting for the broker")
        waiting.terminate()
        assert await waiting.wait() == 0
        await asyncio.to_thread(broker.start)
        for service in (*services, generator):
            await service.healthy()
        await eventually(partial(pipeline.has_records, "processed-orders"), what="orders flow")
        broker.kill()
        for service in services:
            service.terminate()
        for service in services:
            assert await service.wait() == 0
