"""`pipeline metrics --source topic` reads all committed metrics, or none."""

import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from libs.events.product_metrics import MetricRow, ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from metrics_report.skipped import Skipped
from metrics_report.sources import from_topic
from tests.integration.command_line import run_command
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


async def test_metrics_that_retention_may_have_deleted_are_mentioned(pipeline: Pipeline, topics: None) -> None:
    topic = pipeline.prefix + PRODUCT_METRICS.name
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        for start_s, age_s in ((0, 10), (3600, 0)):  # windows that close at different times
            metric = encode_metric(ProductMetric(start_s, start_s + 60, "prod-1", 1, 100))
            written_ms = int(1000 * (time.time() - age_s))
            sent = await producer.send_and_wait(topic, metric, key=b"prod-1", timestamp_ms=written_ms)

    async def noted() -> str:
        exit_code, _, messages = await run_command(pipeline, "metrics", "--source", "topic", "--by", "hour")
        assert exit_code == 0
        return " ".join(messages.split())

    assert "retention" not in await noted()
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, sent.partition): RecordsToDelete(1)})
    finally:
        await admin.close()
    assert "metrics of windows that end by 1970-01-01 01:01:00Z" in await noted()
