"""Creates topics and writes the input: encoded once, and written into the new topics of every run."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.orders import PARTITIONS, Item

ORDERS = "orders"
PROCESSED = "processed-orders"
DEAD_LETTERS = "orders-dlq"
METRICS = "product-metrics"
TOPICS = (ORDERS, PROCESSED, DEAD_LETTERS, METRICS)

_BATCH_BYTES = 64 * 1024
# Batches of one partition sent at a time: enough to keep the broker busy, few enough to keep the partitions even.
_AT_A_TIME = 32
_VISIBLE_WITHIN_S = 10.0

Batches = Mapping[int, list[BatchBuilder]]


class Inputs:
    """A client of the benchmark's broker that creates topics and writes input; an async context manager."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, max_batch_size=_BATCH_BYTES, max_request_size=4 * 1024 * 1024
        )
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)

    async def __aenter__(self) -> Self:
        await self._producer.start()
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._admin.close()

    def encode(self, items: Iterable[Item]) -> Batches:
        """Batches of at most 64 KiB by partition; they can be written any number of times."""
        now_ms = int(time.time() * 1000)
        batches: defaultdict[int, list[BatchBuilder]] = defaultdict(list)
        for item in items:
            filled = batches[item.partition]
            if not filled or filled[-1].append(timestamp=now_ms, key=item.key, value=item.value) is None:
                filled.append(self._producer.create_batch())
                filled[-1].append(timestamp=now_ms, key=item.key, value=item.value)
        for filled in batches.values():
            for batch in filled:
                batch.close()
        return batches

    async def write(self, topic: str, batches: Batches) -> None:
        """Write all of ``batches`` into ``topic``, all partitions at the same pace."""
        longest = max((len(filled) for filled in batches.values()), default=0)
        for start in range(0, longest, _AT_A_TIME):
            deliveries = [
                await self._producer.send_batch(batch, topic, partition=partition)
                for partition, filled in batches.items()
                for batch in filled[start : start + _AT_A_TIME]
            ]
            await asyncio.gather(*deliveries)

    async def create(self, prefix: str) -> None:
        """Create the contract's topics."""
        names = [prefix + name for name in TOPICS]
        await self._admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        deadline = time.monotonic() + _VISIBLE_WITHIN_S
        while any(topic["error_code"] for topic in await self._admin.describe_topics(names)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the topics {prefix}* are not there after {_VISIBLE_WITHIN_S} s")
            await asyncio.sleep(0.05)

    async def delete(self, prefix: str) -> None:
        """Delete all topics that begin with ``prefix``, including those that a contender has created."""
        names = [name for name in await self._admin.list_topics() if name.startswith(prefix)]
        if names:
            await self._admin.delete_topics(names)
