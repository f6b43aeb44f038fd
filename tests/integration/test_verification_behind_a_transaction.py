"""Orders behind an open transaction: neither the verification nor the report leaves them out silently."""

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from daily_report.closed_windows import wait_until_closed
from daily_report.span import parse_span
from libs.events.topics import ORDERS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from tests.integration.pipeline import Pipeline
from tests.unit.driver import order
from verification import topic_reader
from verification.report import Damage
from verification.topic_reader import TopicReader
from verification.verify import verify


async def test_orders_behind_an_open_transaction_are_not_left_out_silently(
    pipeline: Pipeline, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", 2.0)
    topic, value = pipeline.prefix + ORDERS.name, orjson.dumps(order())
    reason = f"a transaction in {topic} stays open"
    hanging = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=f"{pipeline.prefix}hangs")
    async with hanging, AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        await hanging.begin_transaction()
        await hanging.send_and_wait(topic, value, partition=0)
        await producer.send_and_wait(topic, value, partition=0)
        with pytest.raises(PipelineError, match=reason):
            await verify(KafkaAddress(pipeline.kafka), topic_prefix=pipeline.prefix, window_seconds=5, settle_s=0)
        async with TopicReader(KafkaAddress(pipeline.kafka)) as reader:
            span = parse_span("2026-11-27")
            with pytest.raises(PipelineError, match=reason):
                await wait_until_closed(reader, pipeline.prefix, span, 5, 0, lambda _: None)
        await hanging.abort_transaction()
    report = await verify(KafkaAddress(pipeline.kafka), topic_prefix=pipeline.prefix, window_seconds=5, settle_s=0)
    assert report.damage.keys() == {Damage.BEHIND}
    assert report.examples[Damage.BEHIND][0].startswith("processor is 2 records behind")
