"""Encodes the records of one transaction into Kafka's record batches (KIP-98) as they are added."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import Headers, Row

# One request is in flight for each broker, so throughput is a batch per round trip: 16 KiB batches halve it.
MAX_BATCH_BYTES = 256 * 1024

# Several rows for each of 200 partitions. Each short result of orjson takes 4 KiB while it waits
# (findings/orjson_keeps_four_kibibytes_for_each_result.sh), so the rows are limited, too: tombstones have no value.
_MOST_WAITING_BYTES = 512 * 1024
_MOST_WAITING_ROWS = 4_000

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

    __slots__ = ("batches", "headers", "rows")

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.headers: Headers = []
        self.rows: list[Row] = []

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
        return sum(batch.size_bytes for batch in batches[before:]) - last_bytes


class OutputBuffer:
    """The records of one transaction by topic, without prefix, and partition.

    Appending a few rows to a batch costs as much as appending many. So rows wait until there are several for each partition:
    with 200 partitions an input batch has hardly more than one row for each.

    Args:
        partitions: the number of partitions of each output topic.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._outputs: defaultdict[str, defaultdict[int, _PartitionOutput]] = defaultdict(
            lambda: defaultdict(_PartitionOutput)
        )
        self._batches_bytes = 0
        self._waiting_bytes = 0
        self._waiting_rows = 0
        # Read after every batch of input, so it is kept up to date.
        self.record_count = 0

    @property
    def size_bytes(self) -> int:
        """The size of all batches, and of the values of the rows that wait."""
        return self._batches_bytes + self._waiting_bytes

    def partition_count(self, topic: str) -> int:
        return self._partitions[topic]

    def partition_for(self, topic: str, key: bytes | None) -> int:
        return partition_for(key, self._partitions[topic])

    def extend(self, topic: str, partitions: Sequence[int], rows: Sequence[Row], headers: Headers) -> None:
        outputs = self._outputs[topic]
        size_bytes = 0
        for partition, row in zip(partitions, rows, strict=True):
            output = outputs[partition]
            if output.headers is not headers:
                self._change_headers(output, headers)
            output.rows.append(row)
            value = row[1]
            if value is not None:
                size_bytes += len(value)
        self.record_count += len(rows)
        self._waiting_bytes += size_bytes
        self._waiting_rows += len(rows)
        if self._waiting_bytes >= _MOST_WAITING_BYTES or self._waiting_rows >= _MOST_WAITING_ROWS:
            self._append_all()

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Headers,
    ) -> None:
        self.extend(topic, (partition,), ((key, value, timestamp_ms),), headers)

    def _change_headers(self, output: _PartitionOutput, headers: Headers) -> None:
        if output.rows and output.headers != headers:
            self._waiting_bytes -= sum(len(value) for _, value, _ in output.rows if value is not None)
            self._waiting_rows -= len(output.rows)
            self._batches_bytes += output.append_rows()
        output.headers = headers

    def _append_all(self) -> None:
        for outputs in self._outputs.values():
            for output in outputs.values():
                if output.rows:
                    self._batches_bytes += output.append_rows()
        self._waiting_bytes = 0
        self._waiting_rows = 0

    def batches(self) -> Mapping[tuple[str, int], list[RecordBatch]]:
        """All batches by topic and partition, in the order in which they were filled."""
        self._append_all()
        return {
            (topic, partition): output.batches
            for topic, outputs in self._outputs.items()
            for partition, output in outputs.items()
            if output.batches
        }

    def record_counts(self) -> Counter[str]:
        """The number of records by topic."""
        counts: Counter[str] = Counter()
        for topic, outputs in self._outputs.items():
            for output in outputs.values():
                counts[topic] += len(output.rows) + sum(batch.record_count for batch in output.batches)
        return counts
