"""The upper limit: a bare aiokafka consumer that reads a topic to its end and discards the records.

Anything built on this client has at least this cost. Same garbage collector settings as our services.
"""

import asyncio
import gc
import json
import os
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

PARTITIONS = 6


async def read_all(topic: str) -> tuple[int, float]:
    """The number of records in ``topic``, and the seconds that reading them took."""
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=os.environ["BENCH_BOOTSTRAP"],
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        started_s = ended_s = time.monotonic()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records = 0
        while True:
            fetched = await consumer.getmany(timeout_ms=200)
            if fetched:
                ended_s = time.monotonic()
                records += sum(map(len, fetched.values()))
            elif all([await consumer.position(partition) >= end for partition, end in ends.items()]):
                return records, ended_s - started_s
    finally:
        await consumer.stop()


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    name = {"processor": "orders", "analytics": "processed-orders"}[os.environ["BENCH_STAGE"]]
    count, seconds = asyncio.run(read_all(os.environ["BENCH_PREFIX"] + name))
    sys.stdout.write(json.dumps({"records": count, "seconds": seconds}) + "\n")
