import struct
from collections import Counter
from random import Random
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record import MemoryRecords

from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import Headers, Row
from libs.runtime.transactions.record_batches import (
    _MOST_WAITING_BYTES,
    _MOST_WAITING_ROWS,
    MAX_BATCH_BYTES,
    OutputBuffer,
    RecordBatch,
)

HEADERS: Headers = [("type", b"order"), ("empty", b"")]
ROWS: list[Row] = [
    (None if n % 7 == 0 else b"key-%d" % (n % 5), None if n % 11 == 0 else b"v" * (n % 300), 1_700_000_000_000 + n)
    for n in range(500)
]
PRODUCER_ID, EPOCH, SEQUENCE = 2**40 + 7, 3, 2**31 - 2
_COUNT_AT = 57  # the number of records, in a batch's header


def aiokafkas_own(rows: list[Row]) -> BatchBuilder:
    own = BatchBuilder(MAX_BATCH_BYTES, 0, is_transactional=True)
    for key, value, timestamp_ms in rows:
        assert own.append(timestamp=timestamp_ms, key=key, value=value, headers=HEADERS) is not None
    return own


def test_batches_are_byte_identical_to_those_of_aiokafka() -> None:
    batch, own = RecordBatch(), aiokafkas_own(ROWS)
    for first in range(0, len(ROWS), 10):
        assert batch.extend(iter(ROWS[first : first + 10]), HEADERS) is None
    own._set_producer_state(PRODUCER_ID, EPOCH, SEQUENCE)
    assert batch.record_count == own.record_count() == len(ROWS)
    assert batch.size_bytes == own.size()
    assert batch.encode(PRODUCER_ID, EPOCH, SEQUENCE) == own._build()


def test_a_batch_is_encoded_for_its_producer() -> None:
    encoded = []
    for producer in ((1, 2, 3), (PRODUCER_ID, EPOCH, SEQUENCE)):
        batch = RecordBatch()
        batch.extend(iter(ROWS[:10]), HEADERS)
        made = batch.encode(*producer)
        assert struct.unpack_from(">qhi", made, 43) == producer
        encoded.append(made)
    assert encoded[0][61:] == encoded[1][61:]  # all differences are before the records


def test_a_full_batch_returns_the_row_that_did_not_fit() -> None:
    rows: list[Row] = [(b"key", b"%06d" % n + bytes(994), n) for n in range(1_000)]
    batch, remaining = RecordBatch(), iter(rows)
    refused = batch.extend(remaining, HEADERS)
    assert refused == rows[batch.record_count]
    assert next(remaining) == rows[batch.record_count + 1]
    assert batch.size_bytes <= MAX_BATCH_BYTES < batch.size_bytes + 1_100
    assert batch.encode(1, 2, 3) == _own_with(rows[: batch.record_count])


def _own_with(rows: list[Row]) -> bytearray:
    own = aiokafkas_own(rows)
    own._set_producer_state(1, 2, 3)
    built: bytearray = own._build()
    return built


def counts(buffer: OutputBuffer, topic: str, partition: int) -> list[int]:
    return [batch.record_count for batch in buffer.batches()[topic, partition]]


def test_records_that_do_not_fit_go_into_the_next_batch_in_order() -> None:
    buffer = OutputBuffer({"out": 6})
    rows: list[Row] = [(None, b"%06d" % n + bytes(994), n) for n in range(1_000)]
    buffer.extend("out", [0] * 10, rows[:10], [])
    buffer.extend("out", [0] * 990, rows[10:], [])
    buffer.send("out", 0, *rows[0], [])
    batches = buffer.batches()["out", 0]
    assert len(batches) > 3
    assert sum(batch.record_count for batch in batches) == 1_001
    encoded = b"".join(bytes(batch.encode(1, 2, 3)) for batch in batches)
    positions = [encoded.index(b"%06d" % n + bytes(994)) for n in range(1_000)]
    assert positions == sorted(positions)


@pytest.mark.parametrize("before", [0, 1])
def test_a_record_larger_than_a_batch_gets_its_own_batch(before: int) -> None:
    buffer = OutputBuffer({"out": 6})
    small: Row = (None, b"small", 0)
    large: Row = (None, bytes(MAX_BATCH_BYTES + 1), 0)
    buffer.extend("out", [0] * (before + 3), [small] * before + [large, small, small], [])
    assert counts(buffer, "out", 0) == [1] * before + [1, 2]


def test_records_are_grouped_by_topic_and_partition_and_counted_by_topic() -> None:
    buffer = OutputBuffer({"out": 6, "dlq": 3})
    assert buffer.batches() == {}
    assert buffer.size_bytes == 0
    buffer.extend("out", [0, 5, 0, 5, 0], ROWS[:5], HEADERS)
    buffer.send("dlq", 0, b"key", b"value", 0, [])
    buffer.extend("dlq", [], [], [])
    assert {target: [batch.record_count for batch in each] for target, each in buffer.batches().items()} == {
        ("out", 0): [3],
        ("out", 5): [2],
        ("dlq", 0): [1],
    }
    assert buffer.record_counts() == Counter({"out": 5, "dlq": 1})
    assert buffer.record_count == 6
    encoded = [batch.encode(1, 2, 3) for each in buffer.batches().values() for batch in each]
    assert sum(struct.unpack_from(">i", each, _COUNT_AT)[0] for each in encoded) == 6


@pytest.mark.parametrize("seed", range(5))
def test_each_partition_has_its_records_in_order_with_their_own_headers(seed: int) -> None:
    random = Random(seed)
    buffer = OutputBuffer({"out": 3})
    expected: dict[tuple[str, int], list[Any]] = {}
    for number in range(300):
        all_headers: list[Headers] = [HEADERS, list(HEADERS), [], [("traceparent", b"%d" % number)]]
        headers = random.choice(all_headers)
        partitions = [random.randrange(3) for _ in range(random.randrange(20))]
        rows: list[Row] = [
            (b"%d" % number, random.randbytes(random.randrange(1_500)), at) for at in range(len(partitions))
        ]
        if len(rows) == 1:
            buffer.send("out", partitions[0], *rows[0], headers)
        else:
            buffer.extend("out", partitions, rows, headers)
        for partition, row in zip(partitions, rows, strict=True):
            expected.setdefault(("out", partition), []).append((*row, tuple(headers)))
    assert buffer.size_bytes > _MOST_WAITING_BYTES
    assert {target: decoded(batches) for target, batches in buffer.batches().items()} == expected


def decoded(batches: list[RecordBatch]) -> list[Any]:
    parsed = (MemoryRecords(bytes(batch.encode(1, 2, 3))).next_batch() for batch in batches)
    return [
        (record.key, record.value, record.timestamp, tuple(record.headers))
        for records in parsed
        for record in records or ()
    ]


def test_the_size_includes_rows_that_wait_for_their_batch() -> None:
    buffer = OutputBuffer({"out": 6})
    values_bytes = sum(len(value or b"") for _, value, _ in ROWS)
    buffer.extend("out", [0] * len(ROWS), ROWS, HEADERS)
    assert buffer.size_bytes == values_bytes
    buffer.send("out", 0, None, b"another", 0, [])
    assert buffer.size_bytes > values_bytes + len(b"another")


def test_the_size_counts_rows_once_if_a_change_of_headers_appends_them() -> None:
    buffer, appended = OutputBuffer({"out": 6}), RecordBatch()
    appended.extend(iter(ROWS[:10]), HEADERS)
    buffer.extend("out", [0] * 10, ROWS[:10], HEADERS)
    buffer.send("out", 0, None, b"waits", 0, [])
    assert buffer.size_bytes == appended.size_bytes + len(b"waits")


def test_rows_wait_up_to_a_limit() -> None:
    buffer = OutputBuffer({"out": 6})
    rows: list[Row] = [(None, bytes(_MOST_WAITING_BYTES // 4), 0)] * 4
    buffer.extend("out", [0, 1, 2, 3], rows, [])
    size_bytes = buffer.size_bytes
    assert size_bytes > _MOST_WAITING_BYTES
    buffer.batches()
    assert buffer.size_bytes == size_bytes


def test_tombstones_wait_up_to_a_limit() -> None:
    buffer = OutputBuffer({"out": 6})
    for _ in range(_MOST_WAITING_ROWS - 1):
        buffer.send("out", 0, b"key", None, 0, [])
    assert buffer.size_bytes == 0
    buffer.send("out", 0, b"key", None, 0, [])
    assert buffer.size_bytes > 0, "they are in a batch"


def test_the_size_is_that_of_all_batches() -> None:
    buffer = OutputBuffer({"out": 6})
    for partition in range(6):
        buffer.extend("out", [partition] * 50, ROWS[:50], HEADERS)
    batches = buffer.batches()
    assert buffer.size_bytes == sum(len(batch.encode(1, 2, 3)) for each in batches.values() for batch in each)


def test_partitions_match_the_default_partitioner() -> None:
    buffer = OutputBuffer({"out": 6, "dlq": 3})
    assert (buffer.partition_count("out"), buffer.partition_count("dlq")) == (6, 3)
    for key in (None, b"a", b"order-17"):
        assert buffer.partition_for("dlq", key) == partition_for(key, 3)


def test_a_topic_whose_partitions_are_chosen_by_the_caller_needs_no_number_of_partitions() -> None:
    buffer = OutputBuffer({})
    buffer.send("out", 3, b"key", b"value", 0, [])
    assert counts(buffer, "out", 3) == [1]
