"""The pipeline as in a tutorial: aiokafka with its defaults, one record at a time, json from the standard library.

Offsets are committed every 5 s by the consumer itself, windows are kept in memory only and close by stream time.
"""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

BOOTSTRAP = os.environ["BENCH_BOOTSTRAP"]
PREFIX = os.environ["BENCH_PREFIX"]
STAGE = os.environ["BENCH_STAGE"]
GRACE_S = int(os.environ["BENCH_GRACE_S"])
WINDOW_S = 60
CATALOGUE = json.loads(Path(os.environ["BENCH_CATALOGUE"]).read_text())


def parse_order(value: bytes | None) -> dict[str, Any] | None:
    """The order in ``value``, or None if it is not a valid one."""
    try:
        order = json.loads(value or b"")
    except ValueError:
        return None
    if not isinstance(order, dict):
        return None
    ids = [order.get(name) for name in ("order_id", "user_id", "product_id")]
    amount, timestamp = order.get("amount"), order.get("timestamp")
    if not all(isinstance(each, str) and each for each in ids) or ids[2] not in CATALOGUE:
        return None
    if not isinstance(amount, int | float) or not 0 < amount <= 1_000_000 or round(amount, 2) != amount:
        return None
    if not isinstance(timestamp, int | float) or timestamp < 0:
        return None
    return order


async def process(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """From orders to processed orders and dead letters."""
    async for message in consumer:
        order = parse_order(message.value)
        if order is None:
            await producer.send_and_wait(PREFIX + "orders-dlq", message.value, key=message.key)
            continue
        order.update(CATALOGUE[order["product_id"]])
        value = json.dumps(order).encode()
        await producer.send_and_wait(PREFIX + "processed-orders", value, key=order["product_id"].encode())


async def analyse(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """From processed orders to metrics of closed windows."""
    windows: dict[tuple[int, int, str], list[float]] = {}
    stream_time: dict[int, float] = {}
    async for message in consumer:
        order = json.loads(message.value)
        partition = message.partition
        stream_time[partition] = max(stream_time.get(partition, 0), order["timestamp"])
        start = int(order["timestamp"] // WINDOW_S * WINDOW_S)
        closed_until = stream_time[partition] - GRACE_S - WINDOW_S
        if start > closed_until:
            totals = windows.setdefault((partition, start, order["product_id"]), [0, 0.0])
            totals[0] += 1
            totals[1] += order["amount"]
        for key in [key for key in windows if key[0] == partition and key[1] <= closed_until]:
            count, revenue = windows.pop(key)
            metric = {
                "window_start": key[1],
                "window_end": key[1] + WINDOW_S,
                "product_id": key[2],
                "order_count": count,
                "total_revenue": round(revenue, 2),
                "avg_order_value": round(revenue / count, 2),
            }
            value = json.dumps(metric).encode()
            await producer.send_and_wait(PREFIX + "product-metrics", value, key=key[2].encode())


async def main() -> None:
    """Run one stage until SIGTERM."""
    topic, work = {"processor": ("orders", process), "analytics": ("processed-orders", analyse)}[STAGE]
    consumer = AIOKafkaConsumer(
        PREFIX + topic, bootstrap_servers=BOOTSTRAP, group_id=PREFIX + STAGE, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    async with consumer, producer:
        task = asyncio.create_task(work(consumer, producer))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(main())
