"""The only sender of a partition has a clock a day behind, while the other clocks are correct."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from libs.events.topics import ORDERS
from tests.integration.pipeline import WINDOW_S, Pipeline
from tests.integration.services import ServiceProcess, eventually
from tests.integration.test_metrics import PARTITIONS, scrape

SLOW, DAY_S = 5, 86_400.0
# Longer than the test, so that a pause of the machine does not make the partition idle.
NEVER_IDLE_S = "600"


@asynccontextmanager
async def senders(pipeline: Pipeline) -> AsyncIterator[None]:
    """Orders arrive in each partition several times a second; in one of them they are a day old."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
            for number in itertools.count():
                for partition in range(6):
                    order = {
                        "order_id": f"{partition}-{number}",
                        "user_id": "user",
                        "product_id": f"prod-{partition % 5 + 1}",
                        "amount": 12.34,
                        "timestamp": time.time() - (DAY_S if partition == SLOW else 0.0),
                    }
                    await producer.send(pipeline.prefix + ORDERS.name, orjson.dumps(order), partition=partition)
                await producer.flush()
                await asyncio.sleep(0.2)

    sending = asyncio.create_task(send())
    try:
        yield
        assert not sending.done()
    finally:
        sending.cancel()
        await asyncio.wait({sending})


async def closed_since(pipeline: Pipeline, since_s: float) -> bool:
    """Whether a window that began after ``since_s`` has its metrics."""
    metrics = [orjson.loads(record.value or b"") for record in await pipeline.read("product-metrics")]
    return any(metric["window_start"] > since_s for metric in metrics)


async def watermarks_s(service: ServiceProcess) -> dict[str, float]:
    return (await scrape(service)).by("partition", "pipeline_watermark_timestamp_seconds")


async def test_it_keeps_all_windows_open_and_the_lag_is_logged_and_exported(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with pipeline.service("analytics") as analytics, pipeline.service("sink"):
        async with pipeline.service("processor", IDLE_AFTER_SECONDS=NEVER_IDLE_S) as processor, senders(pipeline):
            began_s = time.time()
            line = await processor.wait_for("event time trails arrival", partition=f"orders/{SLOW}")
            assert line["lag_seconds"] == pytest.approx(DAY_S, abs=3600)
            lags = (await scrape(processor)).by("partition", "pipeline_event_time_lag_seconds")
            assert lags.keys() == PARTITIONS
            assert lags.pop(str(SLOW)) == pytest.approx(DAY_S, abs=3600)
            assert max(lags.values()) < 3600

            async def the_others_have_passed_windows() -> bool:
                passed_s = await watermarks_s(processor)
                return min(passed_s[each] for each in PARTITIONS - {str(SLOW)}) > began_s + 3 * WINDOW_S

            await eventually(the_others_have_passed_windows)
            assert max((await watermarks_s(analytics)).values(), default=0.0) < began_s - DAY_S / 2
            assert not await closed_since(pipeline, began_s)
            processor.terminate()
            await processor.wait()
        async with pipeline.service("processor"):  # once the sender has stopped, the partition follows the clock
            report = await pipeline.verify()
    assert report.late == 0
    assert report.in_closed_windows == report.accepted > 0


async def test_with_a_bound_windows_close_and_old_orders_go_to_late_orders(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with pipeline.service("analytics"), pipeline.service("sink"):
        bounded = pipeline.service("processor", IDLE_AFTER_SECONDS=NEVER_IDLE_S, MAX_EVENT_AGE_SECONDS="8")
        async with bounded as processor, senders(pipeline):
            began_s = time.time()
            await eventually(lambda: closed_since(pipeline, began_s), what="a window of the others closes")
            line = await processor.wait_for("event time trails arrival", partition=f"orders/{SLOW}")
            assert "late-orders" in line["consequence"]
            processor.terminate()
            await processor.wait()
        async with pipeline.service("processor"):
            report = await pipeline.verify()
    late = [orjson.loads(record.value or b"") for record in await pipeline.read("late-orders")]
    assert report.late == len(late) > 0
    assert str(SLOW) in {order["order_id"].split("-")[0] for order in late}
    assert report.in_closed_windows + report.late == report.accepted
