"""Encodes the records of one transaction into Kafka's record batches (KIP-98) as they are added."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import Headers, Row

# One request is in flight for each broker, so throughput is a batch per round trip: 16 KiB batches halve it.
MAX_BATCH_BYTES = 256 * 1024

_ROWS_AT_ONCE = 16
_BYTES_AT_ONCE = 16 * 1024

_MAGIC = 2
_UNCOMPRESSED = 0
_NO_PRODUCER = -1


class RecordBatch:
    """One batch for one partition; records can be added until it is encoded."""

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
        """Append ``rows`` until the batch is full; returns the first row that did not fit, None if all did.

        An empty batch accepts a record of any size: the broker decides whether it is too large.
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
        """The encoded batch; no record can be added afterwards."""
        self._builder.set_producer_state(producer_id, producer_epoch, base_sequence)
        encoded: bytearray = self._builder.build()
        return encoded


class _PartitionOutput:
    """The output for one partition: full batches, the one that is being filled, and rows that are not appended yet."""

    __slots__ = ("batches", "headers", "rows", "rows_bytes")

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.headers: Headers = []
        self.rows: list[Row] = []
        self.rows_bytes = 0

    def append_rows(self) -> int:
        """Append the rows to the batches; returns the number of bytes added."""
        batches = self.batches
        before, last_bytes = max(len(batches) - 1, 0), batches[-1].size_bytes if batches else 0
        remaining = iter(self.rows)
        refused = batches[-1].extend(remaining, self.headers) if batches else next(remaining, None)
        while refused is not None:
            batches.append(RecordBatch())
            refused = batches[-1].extend(chain((refused,), remaining), self.headers)
        self.rows.clear()
        self.rows_bytes = 0
        return sum(batch.size_bytes for batch in batches[before:]) - last_bytes


class OutputBuffer:
    """The records of one transaction by topic, without prefix, and partition.

    Appending a few rows to a batch costs as much as appending many. So rows are collected until there are several for their
    partition: with 200 partitions an input batch has hardly more than one row for each.

    Args:
        partitions: the number of partitions of each output topic.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._outputs: dict[tuple[str, int], _PartitionOutput] = {}
        # Read after every batch of input, so they are kept up to date.
        self.size_bytes = 0
        """The size of all batches, and of the rows that wait."""
        self.record_count = 0

    def partition_count(self, topic: str) -> int:
        return self._partitions[topic]

    def partition_for(self, topic: str, key: bytes | None) -> int:
        return partition_for(key, self._partitions[topic])

    def extend(self, topic: str, partition: int, rows: Sequence[Row], headers: Headers) -> None:
        output = self._outputs.get((topic, partition))
        if output is None:
            output = self._outputs[topic, partition] = _PartitionOutput()
        if output.rows and output.headers != headers:
            self._append_rows(output)
        output.headers = headers
        output.rows.extend(rows)
        size_bytes = 0
        for _, value, _ in rows:
            if value is not None:
                size_bytes += len(value)
        output.rows_bytes += size_bytes
        self.size_bytes += size_bytes
        self.record_count += len(rows)
        if len(output.rows) >= _ROWS_AT_ONCE or output.rows_bytes >= _BYTES_AT_ONCE:
            self._append_rows(output)

    def _append_rows(self, output: _PartitionOutput) -> None:
        self.size_bytes -= output.rows_bytes
        self.size_bytes += output.append_rows()

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
        for output in self._outputs.values():
            self._append_rows(output)
        return {target: output.batches for target, output in self._outputs.items() if output.batches}

    def record_counts(self) -> Counter[str]:
        """The number of records by topic."""
        counts: Counter[str] = Counter()
        for (topic, _), output in self._outputs.items():
            counts[topic] += len(output.rows) + sum(batch.record_count for batch in output.batches)
        return counts
