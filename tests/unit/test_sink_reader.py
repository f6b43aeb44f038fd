"""Conversion of records to batches of lines."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.runtime.records import Headers
from services.sink.file.finished_files import Span
from services.sink.file.lines import Line, lines_of, span_of
from services.sink.record_batcher import (
    MetricBatch,
    Position,
    RecordBatcher,
    RecordMissingError,
    TopicRewoundError,
    crc_of,
)


@dataclass
class FakeRecord:
    offset: int
    value: bytes | None = b"{}"
    timestamp: int = 0
    timestamp_type: int = 0
    key: bytes | None = None
    headers: Headers = field(default_factory=list)


KEYS = st.text(st.characters(codec="utf-8"), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


def line_of(value: bytes | None) -> bytes:
    (line,) = lines_of([value])
    return line.text


def test_the_bytes_of_a_metric_are_unchanged() -> None:
    value = encode_metric(ProductMetric(60, 120, "keyboard", 3, 1050))
    assert lines_of([value]) == [Line(value, 60, 120)]
    more = b'{"more":1,"window_end":"?","window_start":5.5}'
    assert lines_of([value, more]) == [Line(value, 60, 120), Line(more, 5.5, None)]
    assert span_of(lines_of([value, more, b"{}"])) == Span(5, 60)
    assert span_of(lines_of([b'{"window_start":-1}', b'{"window_start":1e300}', b'{"window_start":true}'])) is None


@pytest.mark.parametrize("name", [b'"window_start":60', b'"order_count":3'])
def test_a_number_beyond_the_range_of_json_readers_is_rejected(name: bytes) -> None:
    value = encode_metric(ProductMetric(60, 120, "keyboard", 3, 1050))
    with pytest.raises(ValueError, match="number"):
        lines_of([value.replace(name, name + b"9" * 400)])


@pytest.mark.parametrize("gap", [b"\n", b"\r", b"\r\n", b" "])
def test_a_metric_with_line_breaks_between_its_fields_is_one_line(gap: bytes) -> None:
    value = encode_metric(ProductMetric(60, 120, "keyboard", 3, 1050)).replace(b",", gap + b"," + gap) + gap
    (line,) = lines_of([value])
    assert line.text.splitlines() == [line.text]
    assert orjson.loads(line.text) == orjson.loads(value)
    assert line.window_end == 120


@given(st.dictionaries(KEYS, JSON, max_size=3))
def test_any_object_becomes_one_line_with_the_same_value(content: dict[str, object]) -> None:
    value = b"\r\n" + orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
    line = line_of(value)
    assert b"\n" not in line
    assert b"\r" not in line
    assert orjson.loads(line) == content


@given(st.binary().filter(lambda value: b"{" not in value))
def test_other_bytes_are_rejected(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        line_of(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b'{"a":1',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b"{}{}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"{" * 1_000_000,
    ],
)
def test_a_value_that_is_not_an_object_is_rejected(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        line_of(value)


def read(
    reader: RecordBatcher[Line], fetched: Mapping[int, Iterable[FakeRecord]], most: int = 100
) -> list[MetricBatch[Line]]:
    return list(reader.batches(fetched, most))


def texts(batches: Sequence[MetricBatch[Line]]) -> list[list[bytes]]:
    return [[line.text for line in batch.items] for batch in batches]


def test_a_batch_of_several_partitions() -> None:
    reader = RecordBatcher(lines_of, {0: Position(5, 0), 1: Position(2, 0)}, rereading=[])
    last, other = FakeRecord(8, b'{"a":2}'), FakeRecord(0, b'{"b":1}')
    (batch,) = read(reader, {0: iter([FakeRecord(5, b'{"a":1}'), last]), 3: [other], 4: []})
    assert texts([batch]) == [[b'{"a":1}', b'{"a":2}', b'{"b":1}']]
    assert batch.positions == {0: Position(9, crc_of(last)), 3: Position(1, crc_of(other))}
    assert batch.rejected == []
    assert read(reader, {}) == read(reader, {0: []}) == []


def test_many_records_are_divided_into_batches_with_their_own_positions() -> None:
    records = {number: [FakeRecord(offset, b'{"n":%d}' % offset) for offset in range(25)] for number in (0, 1)}
    batches = read(RecordBatcher(lines_of, {}, ()), records, most=10)
    assert [len(batch.items) for batch in batches] == [10, 10, 15, 10, 5]
    assert [line for batch in texts(batches) for line in batch] == [record.value for record in records[0] + records[1]]
    assert [{number: each.next_offset for number, each in batch.positions.items()} for batch in batches] == [
        {0: 10}, {0: 20}, {0: 25, 1: 10}, {1: 20}, {1: 25},
    ]  # fmt: skip


def test_an_invalid_metric_is_skipped_and_reported() -> None:
    records = [FakeRecord(number, b'{"a":%d}' % number) for number in range(20)]
    for number in (0, 7, 19):
        records[number].value = (b"?", b"[]", None)[number % 3]
    (batch,) = read(RecordBatcher(lines_of, {}, []), {0: records})
    assert texts([batch]) == [[record.value for record in records if (record.value or b"").startswith(b"{")]]
    assert batch.positions == {0: Position(20, crc_of(records[-1]))}
    assert [reason.partition(":")[0] for reason in batch.rejected] == [
        f"partition 0, offset {number}" for number in (0, 7, 19)
    ]


def test_lines_of_different_groups_are_in_different_batches() -> None:
    def tens_of(lines: Sequence[Line]) -> Collection[int]:
        return {orjson.loads(line.text)["n"] // 10 for line in lines if b"n" in line.text}

    numbers = [3, 4, 12, 13, 14, 9, 25, None, 26]
    records = [
        FakeRecord(offset, b"{}" if number is None else b'{"n":%d}' % number) for offset, number in enumerate(numbers)
    ]
    batches = read(RecordBatcher(lines_of, {}, (), tens_of), {0: records, 1: [FakeRecord(7, b'{"n":29}')]})
    assert [tens_of(batch.items) for batch in batches] == [{0}, {1}, {0}, {2}]
    assert [batch.positions.get(0, Position(0, 0)).next_offset for batch in batches] == [2, 5, 6, 9]
    assert batches[-1].positions[1].next_offset == 8
    assert sum(len(batch.items) for batch in batches) == 10


@pytest.mark.parametrize("offset", [0, 3, 4])
def test_a_topic_with_lower_end_offsets_is_detected(offset: int) -> None:
    with pytest.raises(RecordMissingError):
        read(RecordBatcher(lines_of, {0: Position(5, 0)}, rereading=[]), {0: [FakeRecord(offset)]})


def test_a_topic_with_lower_end_offsets_between_batches_is_detected() -> None:
    reader = RecordBatcher(lines_of, {}, [])
    read(reader, {0: [FakeRecord(0), FakeRecord(1)]})
    with pytest.raises(RecordMissingError):
        read(reader, {0: [FakeRecord(1)]})


def test_the_previous_record_is_read_again_but_not_written_again() -> None:
    before, after = FakeRecord(4, b'{"a":1}'), FakeRecord(5, b'{"a":2}')
    reader = RecordBatcher(lines_of, {0: Position(5, crc_of(before)), 1: Position(7, 0)}, rereading=[0, 1])
    assert texts(read(reader, {0: [before, after]})) == [[b'{"a":2}']]
    assert texts(read(reader, {0: [FakeRecord(6, b'{"a":3}')]})) == [[b'{"a":3}']]
    assert texts(read(reader, {2: [FakeRecord(0, b'{"b":1}')]})) == [[b'{"b":1}']]
    again = RecordBatcher(lines_of, {0: Position(5, crc_of(before))}, rereading=[0])
    assert read(again, {0: [before]}) == []


@pytest.mark.parametrize(
    "instead",
    [
        FakeRecord(4, b'{"a":2}'),
        FakeRecord(4, b'{"a":1}', timestamp=1),
        FakeRecord(4, None),
    ],
)
def test_a_different_previous_record_reveals_another_topic(instead: FakeRecord) -> None:
    reader = RecordBatcher(lines_of, {0: Position(5, crc_of(FakeRecord(4, b'{"a":1}')))}, rereading=[0])
    with pytest.raises(TopicRewoundError, match="not what was there before"):
        read(reader, {0: [instead]})


@pytest.mark.parametrize("offset", [0, 3, 5])
def test_a_missing_record_does_not_say_whether_the_topic_is_another_one(offset: int) -> None:
    reader = RecordBatcher(lines_of, {0: Position(5, crc_of(FakeRecord(4, b'{"a":1}')))}, rereading=[0])
    with pytest.raises(RecordMissingError, match="before offset 5"):
        read(reader, {0: [FakeRecord(offset, b'{"a":1}')]})
