"""Measures this machine's clock against the broker's, which stamps each order at its arrival (LogAppendTime)."""

import asyncio
import time
from collections.abc import Collection

from aiokafka import ConsumerRecord, TopicPartition

from doctor.cluster_facts import Clock
from libs.runtime.kafka_client.clients import AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_client.header_keys import read_any_header_key

LOG_APPEND_TIME = 1
_POLL_MS = 200

Record = ConsumerRecord[bytes | None, bytes | None]


def clock_of(arrivals: Collection[tuple[float, int]], newest_ms: int | None, now_s: float) -> Clock:
    """The difference of the clocks, computed from the timestamps of orders.

    Args:
        arrivals: for each order that arrived: this machine's time of arrival in seconds, and the broker's stamp in ms. The
            transport takes time, so the smallest difference is the most exact.
        newest_ms: the stamp of the newest order from before the check.
        now_s: this machine's clock.
    """
    ahead_s = min((here_s - stamp_ms / 1000 for here_s, stamp_ms in arrivals), default=None)
    return Clock(ahead_s, None if newest_ms is None else newest_ms / 1000 - now_s)


async def collect_clock(kafka: Kafka, orders: str, partitions: Collection[int], watch_s: float) -> Clock:
    """Read the newest orders, and those that arrive within ``watch_s``."""
    if not partitions:
        return Clock(None, None)
    read_any_header_key()
    consumer = AIOKafkaConsumer(
        **client_arguments(kafka), enable_auto_commit=False, auto_offset_reset="latest", fetch_max_wait_ms=_POLL_MS
    )
    await consumer.start()
    try:
        assigned = [TopicPartition(orders, number) for number in partitions]
        consumer.assign(assigned)
        begins, ends = await consumer.beginning_offsets(assigned), await consumer.end_offsets(assigned)
        for each in assigned:
            consumer.seek(each, max(begins[each], ends[each] - 1))
        newest_ms: int | None = None
        arrivals: list[tuple[float, int]] = []
        deadline_s = time.monotonic() + watch_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            found = await consumer.getmany(timeout_ms=min(_POLL_MS, int(left_s * 1000)))
            here_s = time.time()
            for partition, records in found.items():
                for record in filter(_is_stamped, records):
                    if record.offset >= ends[partition]:
                        arrivals.append((here_s, record.timestamp))
                    else:
                        newest_ms = max(newest_ms or 0, record.timestamp)
            await asyncio.sleep(0)
        return clock_of(arrivals, newest_ms, time.time())
    finally:
        await consumer.stop()


def _is_stamped(record: Record) -> bool:
    return record.timestamp_type == LOG_APPEND_TIME
