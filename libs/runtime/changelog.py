"""Restoring a partition's state from its compacted changelog."""

import time
from collections.abc import AsyncIterator
from typing import Any

from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import TopicPartition

from libs.runtime.broker import committed_consumer
from libs.runtime.closing import close_consumer
from libs.runtime.lean_fetch import LeanConsumer, in_batches
from libs.runtime.settings import ServiceSettings
from libs.runtime.timing import HEALTHY_FOR_S

_BATCH_SIZE = 500


async def read_changelog(settings: ServiceSettings, partition: TopicPartition) -> AsyncIterator[list[Any]]:
    """All committed records of ``partition``, in batches, oldest first.

    The partition's only writer has to be fenced before: then no transaction is open and its end stands still.

    Raises:
        KafkaTimeoutError: nothing came for ``HEALTHY_FOR_S``; another consumer may fare better (aiokafka #1154).
    """
    # Closing a consumer waits for its long poll: a short one, since closing is part of every take-over.
    consumer = committed_consumer(settings, group=None, fetch_max_wait_ms=20, kind=LeanConsumer)
    try:
        await consumer.start()
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        heard_s, heard_up_to = time.monotonic(), -1
        while (position := await consumer.position(partition)) < end:
            if position > heard_up_to:
                heard_s, heard_up_to = time.monotonic(), position
            elif time.monotonic() - heard_s > HEALTHY_FOR_S:
                raise KafkaTimeoutError(f"reading {partition} stopped at {position} of {end}")
            for fetched in (await consumer.getmany(partition, timeout_ms=500)).values():
                for records in in_batches(fetched, _BATCH_SIZE):
                    yield records
    finally:
        await close_consumer(consumer)
