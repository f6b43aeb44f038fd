"""The verification after retention has deleted records: the remaining ones are verified, the others counted."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.runtime.kafka_client.partitioning import partition_for
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import HANGS_AFTER_S
from verification import history as history_module
from verification.report import Damage, NotVerified, Report
from verification.verify import verify

OLD, NEW = 300, 240
OLD_AGE_S = 7200


async def send(pipeline: Pipeline, count: int, seed: int, age_s: float) -> None:
    values: list[bytes | None] = []
    for number, order in enumerate(history(count, span_s=3, seed=seed, end_s=time.time() - age_s)):
        values.append(orjson.dumps(order))
        if number % 20 == 0:
            values.append(b"{")
    await pipeline.send([(partition, values[partition::6]) for partition in range(min(6, len(values)))])


async def verified(pipeline: Pipeline, newest_orders: int | None = None) -> Report:
    report = await verify(
        pipeline.kafka,
        topic_prefix=pipeline.prefix,
        output=pipeline.output,
        window_seconds=pipeline.window_s,
        wait_closed_s=HANGS_AFTER_S,
        settle_s=HANGS_AFTER_S,
        newest_orders=newest_orders,
    )
    assert report.ok, orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode()
    return report


async def test_remaining_records_are_verified_and_deleted_ones_counted(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    async with AsyncExitStack() as stack:
        processor, *_ = [
            await stack.enter_async_context(pipeline.service(name)) for name in ("processor", "analytics", "sink")
        ]
        await send(pipeline, OLD, seed=1, age_s=OLD_AGE_S)
        await verified(pipeline)
        await send(pipeline, 1, seed=2, age_s=OLD_AGE_S + 60)  # late
        await send(
            pipeline, NEW, seed=3, age_s=-20
        )  # ahead of the clock; otherwise orders that are sent slowly would be late
        complete = await verified(pipeline)
        assert complete.late == 1
        assert not complete.not_verified

        newest = await verified(pipeline, newest_orders=120)
        assert newest.sent == 120
        assert newest.not_verified[NotVerified.ORDER] == complete.sent - newest.sent
        assert newest.not_verified[NotVerified.OUTCOME] == 0

        # Records deleted from here on arrived two hours after their event times, so no one-minute wait is needed.
        monkeypatch.setattr(history_module, "_MAX_AHEAD_S", -10)
        await pipeline.delete_records("processed-orders", lambda end: end // 3)
        report = await verified(pipeline)
        assert report.not_verified.keys() == {NotVerified.OUTCOME}
        assert report.sent == report.processed + report.dead_letters.total() + report.not_verified[NotVerified.OUTCOME]

        await pipeline.delete_records("orders", lambda end: 50)
        report = await verified(pipeline)
        assert report.not_verified[NotVerified.ORDER] == 300
        assert report.not_verified[NotVerified.WINDOW]
        assert report.in_closed_windows == report.accepted > 0

        for topic, share in (("orders-dlq", 2), ("late-orders", 1), ("product-metrics", 4)):
            await pipeline.delete_records(topic, lambda end, share=share: end // share)  # type: ignore[misc]
        report = await verified(pipeline)
        assert report.closed_windows

        # Damage in the remaining records is still found.
        processor.terminate()
        assert await processor.wait() == 0
        start_s = int(time.time()) // pipeline.window_s * pipeline.window_s
        wrong = encode_metric(ProductMetric(start_s, start_s + pipeline.window_s, "prod-1", 1, 100))
        async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
            topic = f"{topic_prefix}product-metrics"
            await producer.send_and_wait(topic, wrong, key=b"prod-1", partition=partition_for(b"prod-1", 6))
            invalid = await producer.send_and_wait(f"{topic_prefix}orders", b"{", partition=3)
        await pipeline.commit("processor", "orders", invalid.offset + 1, partition=3)  # it has passed the order
        report = await verify(kafka, topic_prefix=topic_prefix, window_seconds=pipeline.window_s, settle_s=1)
    assert report.damage[Damage.WINDOW_UNEXPECTED] == 1
    assert report.damage[Damage.DEAD_LETTER_LOST] == 1
