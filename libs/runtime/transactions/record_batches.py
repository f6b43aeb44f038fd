"""The records of one transaction, encoded into Kafka's record batches (KIP-98) as they come."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import Headers, Row

# One request is in flight for each broker, so throughput is the size of a batch per round trip: 16 KiB costs half of it.
MAX_BATCH_BYTES = 256 * 1024

_MAGIC = 2
_UNCOMPRESSED = 0
_NO_PRODUCER = -1


class RecordBatch:
    """One batch for one partition; it takes records until it is encoded."""

    def __init__(self) -> None:
        self._builder = DefaultRecordBatchBuilder(
            _MAGIC,
            _UNCOMPRESSED,
            is_transactional=True,
            producer_id=_NO_PRODUCER,
            producer_epoch=_NO_PRODUCER,
            base_sequence=0,
            batch_size=MAX_BATCH_BYTES,
        )
        self.record_count = 0

    @property
    def size_bytes(self) -> int:
        return int(self._builder.size())

    def extend(self, rows: Iterator[Row], headers: Headers) -> Row | None:
        """Append ``rows`` until the batch is full; returns the one that found no room, None if all did.

        An empty batch takes a record of any size: the broker judges whether it is too large.
        """
        offset, append = self.record_count, self._builder.append
        refused = None
        for row in rows:
            key, value, timestamp_ms = row
            if append(offset, timestamp_ms, key, value, headers) is None:
                refused = row
                break
            offset += 1
        self.record_count = offset
        return refused

    def encode(self, producer_id: int, producer_epoch: int, base_sequence: int) -> bytearray:
        """The batch as it is sent; no record can be added afterwards."""
        self._builder.set_producer_state(producer_id, producer_epoch, base_sequence)
        encoded: bytearray = self._builder.build()
        return encoded


class OutputBuffer:
    """The records of one transaction by topic, without prefix, and partition.

    Args:
        partitions: the number of partitions of each output topic.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._batches: dict[tuple[str, int], list[RecordBatch]] = {}
        # Asked for after every batch of input, so they are kept up to date.
        self.size_bytes = 0
        """The size of all batches."""
        self.record_count = 0

    def partition_count(self, topic: str) -> int:
        return self._partitions[topic]

    def partition_for(self, topic: str, key: bytes | None) -> int:
        return partition_for(key, self._partitions[topic])

    def extend(self, topic: str, partition: int, rows: Iterable[Row], headers: Headers) -> None:
        batches = self._batches.get((topic, partition))
        if batches is None:
            batches = self._batches[topic, partition] = []
        before = len(batches)
        if batches:
            self._count(batches[-1], -1)
        remaining = iter(rows)
        refused = batches[-1].extend(remaining, headers) if batches else next(remaining, None)
        while refused is not None:
            batches.append(RecordBatch())
            refused = batches[-1].extend(chain((refused,), remaining), headers)
        for batch in batches[max(before - 1, 0) :]:
            self._count(batch, 1)

    def _count(self, batch: RecordBatch, sign: int) -> None:
        self.size_bytes += sign * batch.size_bytes
        self.record_count += sign * batch.record_count

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Headers,
    ) -> None:
        self.extend(topic, partition, ((key, value, timestamp_ms),), headers)

    def batches(self) -> Mapping[tuple[str, int], list[RecordBatch]]:
        """All batches by topic and partition, in the order in which they were filled."""
        return {target: batches for target, batches in self._batches.items() if batches}

    def record_counts(self) -> Counter[str]:
        """The number of records by topic."""
        counts: Counter[str] = Counter()
        for (topic, _), batches in self._batches.items():
            counts[topic] += sum(batch.record_count for batch in batches)
        return counts
