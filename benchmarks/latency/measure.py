"""Measures the two latencies from outside: by a reader of the topic, and by a reader of the file."""

import asyncio
import contextlib
import json
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.latency.traffic import PARTITIONS, OnSent, send_orders

_LOOK_EVERY_S = 0.002
_WARM_UP_S = 5.0
_DRAIN_S = 5.0


async def until_visible(
    bootstrap_servers: str, prefix: str, rate: int, seconds: float, topic: str = "processed-orders"
) -> list[float]:
    """Milliseconds from sending an order until a read_committed consumer gets it from ``topic``."""
    sent_s: dict[str, float] = {}
    took_ms: list[float] = []
    measured_from_s = time.time() + _WARM_UP_S

    def on_sent(order_id: str, _: int, at_s: float) -> None:
        if at_s > measured_from_s:
            sent_s[order_id] = at_s

    async with _reading(bootstrap_servers, prefix + topic) as consumer:
        async with _traffic(bootstrap_servers, prefix + "orders", rate, on_sent):
            await _collect(consumer, sent_s, took_ms, _WARM_UP_S + seconds)
        await _collect(consumer, sent_s, took_ms, _DRAIN_S)
    if sent_s:
        raise RuntimeError(f"{len(sent_s)} orders of {len(took_ms) + len(sent_s)} were never seen")
    return took_ms


async def _collect(consumer: AIOKafkaConsumer, sent_s: dict[str, float], took_ms: list[float], seconds: float) -> None:
    ends_s = time.time() + seconds
    while time.time() < ends_s:
        fetched = await consumer.getmany(timeout_ms=100)
        now_s = time.time()
        for records in fetched.values():
            for record in records:
                at_s = sent_s.pop(json.loads(record.value or b"{}").get("order_id", ""), None)
                if at_s is not None:
                    took_ms.append((now_s - at_s) * 1000)


class InFile(NamedTuple):
    """Milliseconds until the metrics of a window were in the file."""

    since_it_may_close: list[float]
    """Since the window's end and the bound of out-of-orderness."""
    since_the_last_order: list[float]
    """Since an order with that event time or a later one was sent in the last of the partitions, so that the window could be closed."""


async def until_in_file(
    bootstrap_servers: str, prefix: str, rate: int, seconds: float, output: Path, bound_s: float
) -> InFile:
    """Measure under traffic how long it takes until the metrics of a window that can be closed are in the file."""
    took = InFile([], [])
    started_s = time.time()
    sent_s: list[list[float]] = [[] for _ in range(PARTITIONS)]

    def on_sent(_: str, partition: int, at_s: float) -> None:
        sent_s[partition].append(at_s)

    async with _traffic(bootstrap_servers, prefix + "orders", rate, on_sent):
        position = 0
        while time.time() < started_s + _WARM_UP_S + bound_s + seconds:
            await asyncio.sleep(_LOOK_EVERY_S)
            lines, position = _new_lines(output, position)
            now_s = time.time()
            for end_s in (json.loads(line)["window_end"] for line in lines):
                if end_s > started_s + _WARM_UP_S:
                    may_close_s = end_s + bound_s
                    known_s = max(times[bisect_left(times, may_close_s)] for times in sent_s)
                    took.since_it_may_close.append((now_s - may_close_s) * 1000)
                    took.since_the_last_order.append((now_s - known_s) * 1000)
    return took


def _new_lines(output: Path, position: int) -> tuple[Iterable[bytes], int]:
    try:
        with output.open("rb") as file:
            file.seek(position)
            text = file.read()
    except FileNotFoundError:
        return (), position
    whole = text[: text.rfind(b"\n") + 1]
    return whole.splitlines(), position + len(whole)


@contextlib.asynccontextmanager
async def _reading(bootstrap_servers: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap_servers, isolation_level="read_committed", auto_offset_reset="latest"
    )
    await consumer.start()
    try:
        await consumer.seek_to_end()
        yield consumer
    finally:
        await consumer.stop()


@contextlib.asynccontextmanager
async def _traffic(bootstrap_servers: str, topic: str, rate: int, on_sent: OnSent) -> AsyncIterator[None]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True)
    await producer.start()
    sending = asyncio.create_task(send_orders(producer, topic, rate, on_sent))
    try:
        yield
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await producer.stop()
