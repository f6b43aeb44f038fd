"""The broker comes back at another address, of which the services know from their bootstrap servers."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from libs.events.product_metrics import ProductMetric, encode_metric
from local.broker import LocalBroker
from local.ports import free_ports
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually
from verification.topic_reader import TopicReader


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[LocalBroker, LocalBroker]]:
    """The same broker, with the same data, at two addresses; it runs at neither."""
    first, second, zookeeper = free_ports(3)
    both = LocalBroker(tmp_path / "broker", first, zookeeper), LocalBroker(tmp_path / "broker", second, zookeeper)
    yield both
    for broker in both:
        broker.stop()


async def test_generator_and_sink_follow_it_and_nothing_is_lost(
    brokers: tuple[LocalBroker, LocalBroker], tmp_path: Path
) -> None:
    before, after = brokers
    await asyncio.to_thread(before.start)
    pipeline = Pipeline(f"{before.bootstrap_servers},{after.bootstrap_servers}", "", tmp_path)
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="50"))
        sink = await stack.enter_async_context(pipeline.service("sink"))
        # Both work, and have not only found their topics.
        await eventually(lambda: pipeline.has_records("orders"), what="orders flow")
        await sink.healthy()
        await asyncio.to_thread(before.stop)
        await generator.wait_for("the broker does not answer: buffering orders")
        await asyncio.to_thread(after.start)
        await generator.wait_for("the brokers have other addresses", now=[after.bootstrap_servers])
        await generator.wait_for("the broker is back")
        metric = encode_metric(ProductMetric(60, 120, "prod-1", 1, 100))
        async with AIOKafkaProducer(bootstrap_servers=after.bootstrap_servers) as producer:
            await producer.send_and_wait("product-metrics", metric)
        await eventually(lambda: pipeline.output.read_bytes() == metric + b"\n", what="the sink reads again")
        sent = await generator.all_sent()
    async with TopicReader(after.bootstrap_servers) as reader:
        assert sum((await reader.ends("orders")).values()) == sent


async def test_the_stages_follow_it_and_stay_exact(brokers: tuple[LocalBroker, LocalBroker], tmp_path: Path) -> None:
    before, after = brokers
    await asyncio.to_thread(before.start)
    pipeline = Pipeline(f"{before.bootstrap_servers},{after.bootstrap_servers}", "", tmp_path)
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="50"))
        processor, analytics, _ = [
            await stack.enter_async_context(pipeline.service(name)) for name in ("processor", "analytics", "sink")
        ]
        await eventually(
            lambda: pipeline.output.exists() and bool(pipeline.output.read_bytes()), what="a window is closed"
        )
        await asyncio.to_thread(before.stop)
        await generator.wait_for("the broker does not answer: buffering orders")
        await asyncio.to_thread(after.start)
        for stage in (processor, analytics):
            await stage.wait_for("the brokers have other addresses", now=[after.bootstrap_servers])
        await generator.wait_for("the broker is back")
        lines = pipeline.output.read_bytes().count(b"\n")
        await eventually(lambda: pipeline.output.read_bytes().count(b"\n") > lines + 5, what="windows close again")
        await generator.all_sent()
        pipeline.kafka = after.bootstrap_servers
        await pipeline.verify()
        assert processor.process.poll() is None
        assert analytics.process.poll() is None
