"""`pipeline metrics --source topic` reads all committed metrics, or none."""

import pytest
from aiokafka import AIOKafkaProducer

from libs.events.product_metrics import MetricRow, ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from metrics_report.skipped import Skipped
from metrics_report.sources import from_topic
from tests.integration.pipeline import Pipeline
from verification import topic_reader


async def test_metrics_behind_an_open_transaction_are_not_left_out_silently(
    pipeline: Pipeline, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", 2.0)
    topic = pipeline.prefix + PRODUCT_METRICS.name
    metric = encode_metric(ProductMetric(0, 60, "prod-1", 1, 100))

    async def read() -> list[MetricRow]:
        return [row async for row in from_topic(KafkaAddress(pipeline.kafka), pipeline.prefix, Skipped())]

    hanging = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=f"{pipeline.prefix}hangs")
    async with hanging, AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        await hanging.begin_transaction()
        await hanging.send_and_wait(topic, metric, partition=0)
        await producer.send_and_wait(topic, metric, partition=0)
        with pytest.raises(PipelineError, match=f"a transaction in {topic} stays open"):
            await read()
        await hanging.abort_transaction()
    assert await read() == [MetricRow(0, 60, "prod-1", 1, 100, 100)]
