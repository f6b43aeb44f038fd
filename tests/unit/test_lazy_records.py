"""The records that the fetcher returns, and the partition's position after it, with aiokafka's own classes."""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client import header_keys
from libs.runtime.kafka_client.header_keys import UnreadableHeaderError
from libs.runtime.kafka_client.lazy_records import LazyResults, in_batches
from libs.runtime.kafka_client.stage_consumer import StageConsumer

PARTITION = TopicPartition("orders", 0)
RECORDS_A_BATCH = 30
GZIP = 1
_CRC_AT, _CHECKED_AT = 17, 21
_ATTRIBUTES_AT, _CONTROL, _LAST_OFFSET_DELTA_AT = 22, 0x20, 23


class Position:
    """The part of a consumer's assignment that a fetch result uses."""

    active = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _: TopicPartition) -> "Position":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def batch(first_offset: int, header_key: bytes = b"type", codec: int = 0, producer_id: int = -1) -> bytearray:
    """Records whose values are their offsets, with a header under ``header_key``, which has four bytes.

    With a ``producer_id`` they are in a transaction.
    """
    builder: Any = DefaultRecordBatchBuilder(2, codec, producer_id >= 0, producer_id, -1, -1, 1_000_000)
    for number in range(RECORDS_A_BATCH):
        builder.append(number, 1_700_000_000_000, b"key", b"%d" % (first_offset + number), [("type", b"order")])
    made = bytearray(builder.build()).replace(b"type", header_key)
    struct.pack_into(">q", made, 0, first_offset)
    struct.pack_into(">I", made, _CRC_AT, calc_crc32c(bytes(made[_CHECKED_AT:])))
    return made


def fetch_results(position: Position, *batches: bytearray, aborted: Sequence[tuple[int, int]] = ()) -> LazyResults:
    """The fetcher's buffer with ``batches``, at the consumer's current position.

    ``aborted`` has the producer id and the first offset of each aborted transaction.
    """
    records = PartitionRecords(
        PARTITION,
        MemoryRecords(bytes(b"".join(batches))),
        aborted,
        position.position,
        None,
        None,
        True,
        READ_COMMITTED,
    )
    results = LazyResults()
    results[PARTITION] = FetchResult(PARTITION, assignment=position, partition_records=records, backoff=0)
    return results


def fetched(position: Position, *batches: bytearray) -> Any:
    """The result of a fetch with ``batches``."""
    return fetch_results(position, *batches)[PARTITION]


def returned(position: Position, *batches: bytearray) -> Iterable[Any]:
    result = fetched(position, *batches)
    records: Iterable[Any] = result.getall()
    return records


def test_the_next_fetch_position_is_set_before_the_records_are_parsed() -> None:
    position = Position(7)
    result = fetched(position, batch(0), batch(30), batch(60))
    records = result.getall()
    assert not result.has_more()  # which makes the fetcher request more
    assert position.position == 90
    batches = list(in_batches(records, 40))
    assert [len(some) for some in batches] == [40, 40, 3]
    assert [int(record.value) for some in batches for record in some] == list(range(7, 90))
    assert list(in_batches(records, 40)) == []


def test_the_bytes_of_all_fetches_are_counted() -> None:
    first, second = batch(0), batch(30)
    results = fetch_results(Position(0), first, second)
    assert results.received_bytes == len(first) + len(second)
    results[PARTITION] = fetched(Position(60), batch(60))
    assert results.received_bytes == len(first) + len(second) + len(batch(60))


def test_a_truncated_batch_is_fetched_again() -> None:
    position = Position(0)
    records = returned(position, batch(0), batch(30)[:-1])
    assert [record.offset for some in in_batches(records, 50) for record in some] == list(range(30))
    assert position.position == 30


@pytest.mark.parametrize("make", [batch, partial(batch, codec=GZIP)])
def test_reading_can_begin_in_the_middle_of_a_batch(make: Callable[[int], bytearray]) -> None:
    records = returned(Position(7), make(0), make(30))
    assert [int(record.value) for some in in_batches(records, 50) for record in some] == list(range(7, 60))


def test_batches_without_records_are_skipped() -> None:
    position = Position(30)
    records = returned(position, batch(0))  # all records are before the position, as in a compacted topic
    assert list(in_batches(records, 50)) == []
    assert position.position == 30


def emptied_by_compaction(first_offset: int) -> bytearray:
    """A batch of markers without its marker, of which Kafka's log cleaner keeps the header."""
    made = bytearray(DefaultRecordBatchBuilder(2, 0, True, 7, 0, -1, 1_000_000).build())
    made[_ATTRIBUTES_AT] |= _CONTROL
    struct.pack_into(">q", made, 0, first_offset)
    struct.pack_into(">i", made, _LAST_OFFSET_DELTA_AT, 0)
    struct.pack_into(">I", made, _CRC_AT, calc_crc32c(bytes(made[_CHECKED_AT:])))
    return made


def test_a_batch_of_markers_that_compaction_has_emptied_is_skipped() -> None:
    raw = bytes(b"".join([batch(0), emptied_by_compaction(30), batch(31)]))
    records = PartitionRecords(PARTITION, MemoryRecords(raw), [], 0, None, None, True, READ_COMMITTED)
    assert [record.offset for record in records] == [*range(30), *range(31, 61)]


def test_such_a_batch_is_skipped_in_lazy_reading_too() -> None:
    position = Position(0)
    records = returned(position, batch(0), emptied_by_compaction(30), batch(31))
    offsets = [record.offset for some in in_batches(records, 50) for record in some]
    assert offsets == [*range(30), *range(31, 61)]
    assert position.position == 61


async def test_a_fetch_of_only_aborted_records_advances_the_position() -> None:
    """At the end of a partition no later record advances the position, so it would never count as drained."""
    position = Position(0)
    results = fetch_results(position, batch(0, producer_id=7), aborted=[(7, 0)])
    fetcher: Any = SimpleNamespace(
        _subscriptions=SimpleNamespace(reassignment_in_progress=False),
        _records=results,
        _notify=lambda _: None,
        _wait_consume_future=None,
    )
    found = await Fetcher.fetched_records(fetcher, [])
    assert {partition: list(in_batches(records, 50)) for partition, records in found.items()} == {PARTITION: []}
    assert position.position == RECORDS_A_BATCH


async def test_fetched_records_wait_until_they_are_read() -> None:
    fetcher: Any = SimpleNamespace(
        _subscriptions=SimpleNamespace(reassignment_in_progress=False),
        _records=fetch_results(Position(0), batch(0)),
        _notify=lambda _: None,
        _wait_consume_future=None,
    )
    consumer: Any = SimpleNamespace(_fetcher=fetcher)
    assert StageConsumer.has_waiting(consumer, PARTITION)
    assert await Fetcher.fetched_records(fetcher, [])
    assert not StageConsumer.has_waiting(consumer, PARTITION)


@pytest.mark.parametrize("change", [{"paused": True}, {"position": 5}, {"active": False}])
def test_after_a_seek_a_pause_or_a_rebalance_no_records_are_returned(change: dict[str, object]) -> None:
    position = Position(0)
    result = fetched(position, batch(0))
    vars(position).update(change)
    before = position.position
    assert not result.getall()
    assert not result.has_more()
    assert position.position == before


def test_a_wrong_checksum_is_an_error_when_its_batch_is_reached() -> None:
    broken = batch(30)
    broken[-1] ^= 1
    records = returned(Position(0), batch(0), broken)
    taken = in_batches(records, RECORDS_A_BATCH)
    assert len(next(taken)) == RECORDS_A_BATCH
    with pytest.raises(CorruptRecordException):
        next(taken)


def test_a_wrong_checksum_in_the_first_batch_does_not_advance_the_position() -> None:
    broken, position = batch(0), Position(0)
    broken[-1] ^= 1
    result = fetched(position, broken, batch(30))
    with pytest.raises(CorruptRecordException):
        result.getall()
    assert position.position == 0
    assert not result.getall()  # the attempt has failed: the worker seeks, and fetches again


def test_a_header_that_is_not_utf8_is_read_at_the_second_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[None] = []
    monkeypatch.setattr(header_keys, "read_any_header_key", lambda: attempts.append(None))
    records = returned(Position(0), batch(0), batch(30, header_key=b"\xff\xfe\xfd\xfc"))
    taken = in_batches(records, RECORDS_A_BATCH)
    assert len(next(taken)) == RECORDS_A_BATCH
    with pytest.raises(UnreadableHeaderError):
        next(taken)
    assert len(attempts) == 1
