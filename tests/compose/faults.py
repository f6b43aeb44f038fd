"""Faults that trigger alerts, as context managers, and waiting for alerts."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.events.topics import ORDERS, PROCESSED_ORDERS
from tests.compose.groups import eventually
from tests.compose.project import Project
from tests.compose.prometheus import Labels, Prometheus


async def fires(prometheus: Prometheus, alert: str, **labels: str) -> None:
    """Wait until ``alert`` fires with these labels."""
    wanted = {"alertname": alert, **labels}

    def seen(alerts: Sequence[Labels]) -> bool:
        return any(wanted.items() <= one.items() for one in alerts)

    await eventually(prometheus.firing, seen, f"{alert} fires")


async def no_alerts(prometheus: Prometheus) -> None:
    """Wait until no alert is pending or firing."""

    async def active_alerts() -> list[Labels]:
        return [series.labels for series in await prometheus.query("ALERTS")]

    await eventually(active_alerts, lambda alerts: not alerts, "no alert")


@asynccontextmanager
async def stopped(project: Project, service: str) -> AsyncIterator[None]:
    """Inside the block all replicas of ``service`` are stopped."""
    await asyncio.to_thread(project.compose, "stop", "--timeout", "5", service)
    try:
        yield
    finally:
        await asyncio.to_thread(project.compose, "start", service)


@asynccontextmanager
async def rejecting_processed_orders(project: Project) -> AsyncIterator[None]:
    """Inside the block the broker rejects all records for `processed-orders`."""

    async def configure(**changed: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=project.bootstrap)
        await admin.start()
        try:
            configs = {**PROCESSED_ORDERS.config, **changed}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, PROCESSED_ORDERS.name, configs)])
        finally:
            await admin.close()

    await configure(**{"max.message.bytes": "100"})
    try:
        yield
    finally:
        await configure()


@asynccontextmanager
async def with_a_slow_sender(project: Project, partition: int) -> AsyncIterator[None]:
    """Inside the block orders that are an hour old arrive in a partition, too often for it to become idle."""

    async def sends() -> None:
        async with AIOKafkaProducer(bootstrap_servers=project.bootstrap) as producer:
            for number in itertools.count():
                order = {"user_id": "user", "product_id": "prod-1", "amount": 12.5, "timestamp": time.time() - 3600}
                value = orjson.dumps(order | {"order_id": f"slow-{number}"})
                await producer.send_and_wait(ORDERS.name, value, partition=partition)
                await asyncio.sleep(0.5)

    sending = asyncio.create_task(sends())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait({sending})


async def send(project: Project, orders: Sequence[bytes]) -> None:
    """Write ``orders`` into the topic `orders`."""
    async with AIOKafkaProducer(bootstrap_servers=project.bootstrap, linger_ms=20) as producer:
        await asyncio.gather(*[await producer.send(ORDERS.name, order) for order in orders])
