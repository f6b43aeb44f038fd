"""The views with a topic that has more records than they can read."""

from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from live.snapshot import sales
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually
from watch import kafka_view
from watch.kafka_view import KafkaView
from watch.observation import Observation
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
