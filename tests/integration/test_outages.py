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
from verification.topic_reader import TopicReader


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that is not running yet."""
    broker = LocalBroker(tmp_path / "broker")
    yield broker
    broker.discard()


async def orders_flow(pipeline: Pipeline) -> None:
    """Wait for another processed order."""
    async with TopicReader(pipeline.kafka) as reader:
        before = await reader.ends("processed-orders")

        async def more_than_before() -> bool:
            return await reader.ends("processed-orders") != before

        await eventually(more_than_before, what="orders flow")


async def test_services_start_before_the_broker_survive_its_outage_and_stop_during_another(
    broker: LocalBroker, tmp_path: Path
) -> None:
    pipeline = Pipeline(broker.bootstrap_servers, "", tmp_path)
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(pipeline.service(name)) for name in ("sink", "analytics", "processor")
        ]
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="60"))
        for service in (*services, generator):
            await service.wait_for("waiting for the broker")
            assert (await service.health())[0] == 503
        waiting = await stack.enter_async_context(pipeline.service("processor", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"))
        await waiting.wait_for("waiting for the broker")
        waiting.terminate()
        assert await waiting.wait() == 0
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

        generator.start()
        await orders_flow(pipeline)
        broker.kill()
        for service in services:
            service.terminate()
        for service in services:
            assert await service.wait() == 0
