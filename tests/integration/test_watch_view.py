"""The views with a topic that has more records than they can read."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.topics import ORDERS, ORDERS_DLQ, PRODUCT_METRICS
from libs.runtime.kafka_client.clients import KafkaAddress
from live.snapshot import sales
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually
from watch import kafka_view
from watch.kafka_view import KafkaView
from watch.observation import Observation
from watch.observing import observe_until_cancelled
from watch.state import State

PRODUCTS = 50


async def look(view: KafkaView) -> Observation:
    found: list[Observation] = []

    async def has_coordinator() -> bool:
        try:
            found.append(await view.look())
        except KafkaError:  # a new broker has no coordinators yet
            return False
        return True

    await eventually(has_coordinator)
    return found[0]


async def test_a_partially_read_window_is_not_shown_as_complete(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Pipeline(kafka, topic_prefix, tmp_path).make_topics()
    monkeypatch.setattr(kafka_view, "_MOST_METRICS", 70)
    state = State(60)

    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:

        async def close_window(minute: int) -> None:
            for number in range(PRODUCTS):
                value = encode_metric(ProductMetric(60 * minute, 60 * minute + 60, f"p{number}", 1, 100))
                await producer.send(topic_prefix + PRODUCT_METRICS.name, value, partition=2)
            await producer.flush()

        async with KafkaView(kafka, topic_prefix, {}) as view:
            for minute in (1, 2, 3):
                await close_window(minute)
            state.apply(await look(view))
            await close_window(4)
            state.apply(await look(view))

    snapshot: Any = sales(state)
    assert [(window["start_s"] // 60, window["whole"], window["all"][0]) for window in snapshot["windows"]] == [
        (2, False, 20),
        (3, True, PRODUCTS),
        (4, True, PRODUCTS),
    ]


async def test_the_view_shows_records_behind_an_open_transaction_and_the_lag_of_each_output(
    pipeline: Pipeline, topics: None
) -> None:
    orders, metrics = (TopicPartition(pipeline.prefix + name, 0) for name in (ORDERS.name, PRODUCT_METRICS.name))
    state = State(60)
    hanging = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=f"{pipeline.prefix}hangs")
    consumer = AIOKafkaConsumer(bootstrap_servers=pipeline.kafka, group_id=f"{pipeline.prefix}sink")
    async with (
        hanging,
        consumer,
        AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer,
        KafkaView(KafkaAddress(pipeline.kafka), pipeline.prefix, {}) as view,
    ):
        for _ in range(3):
            await producer.send_and_wait(metrics.topic, b"?", partition=0)
        consumer.assign([metrics])
        await consumer.commit({metrics: 3})
        await hanging.begin_transaction()
        for sender in (hanging, producer, producer):
            await sender.send_and_wait(orders.topic, b"?", partition=0)
        state.apply(await look(view))
        assert state.blocked == {"processor": 3, "analytics": 0, "sink": 0}
        assert state.lags["processor"] == 0
        assert state.output_lags == {"file": 0, "database": 3}
        await hanging.abort_transaction()

        async def is_read_on() -> bool:
            state.apply(await look(view))
            return state.blocked["processor"] == 0

        await eventually(is_read_on)  # the marker comes a moment after the answer
    assert state.lags["processor"] == 4  # with the marker


async def test_a_recreated_topic_is_counted_from_its_beginning(
    kafka: str, topic_prefix: str, tmp_path: Path, admin: AIOKafkaAdminClient
) -> None:
    """As by `make recompute`: the view keeps running meanwhile."""
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    topic, state = topic_prefix + ORDERS_DLQ.name, State(60)

    async def counted(letters: int) -> None:
        await eventually(lambda: state.dead_letters.total() == letters, what=f"{letters} dead letters are counted")

    async def send(letters: int) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
            for _ in range(letters):
                await producer.send_and_wait(topic, b"?", partition=2, headers=[("error.reason", b"malformed")])

    following = asyncio.create_task(observe_until_cancelled(state, kafka, topic_prefix, lambda _: None))
    try:
        await send(20)
        await counted(20)
        await admin.delete_topics([topic])
        await eventually(lambda: not_listed(admin, topic), what="the topic is deleted")
        await pipeline.make_topics()
        await send(5)
        await counted(5)
        await send(30)
        await counted(35)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def not_listed(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic not in await admin.list_topics()
