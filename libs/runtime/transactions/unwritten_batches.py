"""The batches of a transaction that are not acknowledged yet, and the contents of the next request."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka.structs import TopicPartition

from libs.runtime.errors import BatchTooLargeError
from libs.runtime.transactions.error_codes import Meaning, meaning_of
from libs.runtime.transactions.record_batches import MAX_BATCH_BYTES, RecordBatch

# A full batch for each of six partitions. A request is copied several times on its way to the socket, so a larger one costs
# memory (docs/performance.md).
MAX_REQUEST_BYTES = 6 * MAX_BATCH_BYTES
# Records derived from one that just fits the broker's 1 MiB have to fit, too (see the topics' max.message.bytes).
_LARGEST_BATCH_BYTES = 4 * 1024 * 1024


class UnwrittenBatches:
    """The batches of a transaction, in order for each partition, until all are acknowledged."""

    def __init__(
        self,
        batches: Mapping[TopicPartition, list[RecordBatch]],
        encode: Callable[[TopicPartition, RecordBatch], bytearray],
    ) -> None:
        self._waiting = {
            partition: deque(encode(partition, batch) for batch in of_partition)
            for partition, of_partition in batches.items()
            if of_partition
        }
        self.offsets: dict[TopicPartition, list[int]] = {partition: [] for partition in batches}
        """The offset of the first record of each batch that was written."""

    @property
    def partitions(self) -> Collection[TopicPartition]:
        """The partitions with batches left to write."""
        return list(self._waiting)

    def request_for(self, partitions: Collection[TopicPartition]) -> list[tuple[str, Any]]:
        """The next request's batches for these partitions, by topic; empty if none is left.

        It has at most one batch per partition, as the protocol requires, and is larger than ``MAX_REQUEST_BYTES`` only if a
        single batch is.
        """
        size_bytes, topics = 0, defaultdict[str, list[tuple[int, bytearray]]](list)
        for partition in partitions:
            if partition not in self._waiting:
                continue
            batch = self._waiting[partition][0]
            if size_bytes and size_bytes + len(batch) > MAX_REQUEST_BYTES:
                break
            size_bytes += len(batch)
            topics[partition.topic].append((partition.partition, batch))
        return [*topics.items()]

    def answered(self, partition: TopicPartition, code: int, offset: int) -> tuple[Meaning, int]:
        """Note the response for the partition's first batch; returns its meaning and the error code.

        Raises:
            BatchTooLargeError: the batch is larger than the topic's limit.
        """
        meaning = meaning_of(code)
        if meaning is Meaning.TOO_LARGE:
            raise BatchTooLargeError(
                f"topic {partition.topic!r} takes no batch of {len(self._waiting[partition][0])} bytes",
                advice=f"raise its max.message.bytes: {_LARGEST_BATCH_BYTES} is enough",
            )
        if meaning is Meaning.DONE:
            self.offsets[partition].append(offset)
            self._waiting[partition].popleft()
            if not self._waiting[partition]:
                del self._waiting[partition]
        return meaning, code
