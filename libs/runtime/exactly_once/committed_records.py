"""Reads all committed records of partitions in one pass: a compacted changelog to restore state, or an output."""

import time
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Any

from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.closing import close_consumer
from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.lazy_records import LazyRecordConsumer, in_batches
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.timing import HEALTHY_FOR_S

_BATCH_SIZE = 500
_POLL_MS = 20


async def read_committed_records(
    settings: ServiceSettings, partitions: Collection[TopicPartition], advanced: Callable[[], None] = lambda: None
) -> AsyncGenerator[tuple[TopicPartition, list[Any]], None]:
    """All committed records of ``partitions``, in batches, each partition's oldest first.

    A partition is complete when everything up to its high watermark has been read. As long as a transaction is open there, or
    its marker is not written yet, a committed record could still be missing. A new leader's high watermark may be too early at
    first, but then the broker refuses to name the end (KIP-207); it is asked for that first.

    Args:
        settings: of the connection.
        partitions: what to read.
        advanced: called after each fetch that came further in any partition, also by transaction markers alone.

    Raises:
        KafkaTimeoutError: nothing was received for ``HEALTHY_FOR_S``; a new consumer may help (aiokafka #1154).
    """
    # Closing a consumer waits for its long poll: a short one, since closing is part of every take-over.
    consumer = LazyRecordConsumer(**consumer_arguments(settings, group=None, fetch_max_wait_ms=_POLL_MS))
    try:
        await consumer.start()
        consumer.assign(list(partitions))
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        waiting, read = set(partitions), dict.fromkeys(partitions, -1)
        heard_s = time.monotonic()
        while waiting:
            for partition, fetched in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                for records in in_batches(fetched, _BATCH_SIZE):
                    yield partition, records
            moved = False
            for partition in list(waiting):
                end = consumer.highwater(partition)
                position = int(await consumer.position(partition))
                if position > read[partition]:
                    moved, read[partition] = True, position
                if end is not None and position >= max(end, ends[partition]):
                    waiting.remove(partition)
            if moved:
                heard_s = time.monotonic()
                advanced()
            elif time.monotonic() - heard_s > HEALTHY_FOR_S:
                raise KafkaTimeoutError(f"reading {sorted(waiting)} did not come to the end")
    finally:
        await close_consumer(consumer)
