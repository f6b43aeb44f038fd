"""Late orders are verified by the event time at their place in processed-orders, not by that at the topic's end."""

import time

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from libs.events.topics import LATE_ORDERS, ORDERS, PROCESSED_ORDERS
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, Watermark, encode_watermark
from libs.runtime.records import Headers
from tests.integration.pipeline import Pipeline, history
from verification.report import Damage, Report
from verification.verify import CATALOGUE, verify


@pytest.mark.parametrize("is_late", [False, True])
async def test_an_order_before_its_windows_watermark_is_not_late(
    pipeline: Pipeline, topics: None, is_late: bool
) -> None:
    [order] = history(1, span_s=1, seed=1)
    processed = orjson.dumps(order | orjson.loads(CATALOGUE.read_bytes())[order["product_id"]])
    watermark = encode_watermark(Watermark(tuple(range(6)), 6, time.time() + 60))
    records: list[tuple[bytes, Headers]] = [(processed, ORDER_HEADERS), (watermark, WATERMARK_HEADERS)]
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        await producer.send_and_wait(pipeline.prefix + ORDERS.name, orjson.dumps(order), partition=0)
        for value, headers in reversed(records) if is_late else records:
            await producer.send_and_wait(pipeline.prefix + PROCESSED_ORDERS.name, value, partition=0, headers=headers)
        await producer.send_and_wait(pipeline.prefix + LATE_ORDERS.name, processed, partition=0)
    report: Report = await verify(pipeline.kafka, topic_prefix=pipeline.prefix, window_seconds=5, settle_s=0)
    assert report.late == 1
    behind = {Damage.BEHIND: 2}  # no service runs
    assert report.damage == (behind if is_late else behind | {Damage.LATE_TOO_EARLY: 1})
