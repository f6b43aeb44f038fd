"""From records to lines."""

from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.records import Headers
from services.sink.topic_reader import Position, TopicReader, TopicRewoundError, crc_of, line_of


@dataclass
class FakeRecord:
    partition: int
    offset: int
    value: bytes | None = b"{}"
    topic: str = "product-metrics"
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


def test_a_metric_keeps_its_own_bytes() -> None:
    value = encode_metric(ProductMetric(60, 120, "keyboard", 3, 1050))
    assert line_of(value) == value


@given(st.dictionaries(KEYS, JSON, max_size=3))
def test_any_object_fits_on_one_line_and_means_the_same(content: dict[str, object]) -> None:
    value = b"\r\n" + orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
    line = line_of(value)
    assert b"\n" not in line
    assert b"\r" not in line
    assert orjson.loads(line) == content


@given(st.binary().filter(lambda value: b"{" not in value))
def test_other_bytes_are_refused(value: bytes) -> None:
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
def test_what_is_no_object_is_refused(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        line_of(value)


def test_a_batch_of_several_partitions() -> None:
    reader = TopicReader(line_of, {0: Position(5, 0), 1: Position(2, 0)}, rereading=[])
    last, other = FakeRecord(0, 8, b'{"a":2}'), FakeRecord(3, 0, b'{"b":1}')
    batch = reader.collect([[FakeRecord(0, 5, b'{"a":1}'), last], [other]])
    assert batch.items == [b'{"a":1}', b'{"a":2}', b'{"b":1}']
    assert batch.positions == {0: Position(9, crc_of(last)), 3: Position(1, crc_of(other))}
    assert batch.rejected == []


def test_a_record_that_is_no_metric_is_passed_over_and_told() -> None:
    last = FakeRecord(0, 2, None)
    batch = TopicReader(line_of, {}, []).collect([[FakeRecord(0, 0, b"?"), FakeRecord(0, 1, b'{"a":1}'), last]])
    assert batch.items == [b'{"a":1}']
    assert batch.positions == {0: Position(3, crc_of(last))}
    assert len(batch.rejected) == 2
    assert "partition 0, offset 0" in batch.rejected[0]


@pytest.mark.parametrize("offset", [0, 3, 4])
def test_a_topic_that_goes_back_is_noticed(offset: int) -> None:
    with pytest.raises(TopicRewoundError):
        TopicReader(line_of, {0: Position(5, 0)}, rereading=[]).collect([[FakeRecord(0, offset)]])


def test_a_topic_that_goes_back_between_batches_is_noticed() -> None:
    reader = TopicReader(line_of, {}, [])
    reader.collect([[FakeRecord(0, 0), FakeRecord(0, 1)]])
    with pytest.raises(TopicRewoundError):
        reader.collect([[FakeRecord(0, 1)]])


def test_the_record_before_is_read_again_but_not_written_again() -> None:
    before, after = FakeRecord(0, 4, b'{"a":1}'), FakeRecord(0, 5, b'{"a":2}')
    reader = TopicReader(line_of, {0: Position(5, crc_of(before)), 1: Position(7, 0)}, rereading=[0, 1])
    assert reader.collect([[before, after]]).items == [b'{"a":2}']
    assert reader.collect([[FakeRecord(0, 6, b'{"a":3}')]]).items == [b'{"a":3}']
    assert reader.collect([[FakeRecord(2, 0, b'{"b":1}')]]).items == [b'{"b":1}']


@pytest.mark.parametrize(
    "instead",
    [
        FakeRecord(0, 4, b'{"a":2}'),
        FakeRecord(0, 4, b'{"a":1}', timestamp=1),
        FakeRecord(0, 4, None),
        FakeRecord(0, 3, b'{"a":1}'),
        FakeRecord(0, 5, b'{"a":1}'),
    ],
)
def test_another_record_in_its_place_betrays_another_topic(instead: FakeRecord) -> None:
    reader = TopicReader(line_of, {0: Position(5, crc_of(FakeRecord(0, 4, b'{"a":1}')))}, rereading=[0])
    with pytest.raises(TopicRewoundError, match="not what was there before"):
        reader.collect([[instead]])
