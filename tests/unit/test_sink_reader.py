"""From records to lines."""

from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.records import Headers
from services.sink.metric_batch import TopicRewoundError, collect, line_of


@dataclass
class FakeRecord:
    partition: int
    offset: int
    value: bytes | None = b"{}"
    topic: str = "product-metrics"
    timestamp: int = 0
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


@given(st.binary())
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
    batch = collect(
        [[FakeRecord(0, 5, b'{"a":1}'), FakeRecord(0, 8, b'{"a":2}')], [FakeRecord(3, 0, b'{"b":1}')]], {0: 5, 1: 2}
    )
    assert batch.lines == [b'{"a":1}', b'{"a":2}', b'{"b":1}']
    assert batch.next_offsets == {0: 9, 3: 1}
    assert batch.rejected == []


def test_a_record_that_is_no_metric_is_passed_over_and_told() -> None:
    batch = collect([[FakeRecord(0, 0, b"?"), FakeRecord(0, 1, b'{"a":1}'), FakeRecord(0, 2, None)]], {})
    assert batch.lines == [b'{"a":1}']
    assert batch.next_offsets == {0: 3}
    assert len(batch.rejected) == 2
    assert "partition 0, offset 0" in batch.rejected[0]


def test_a_topic_that_goes_back_is_noticed() -> None:
    with pytest.raises(TopicRewoundError, match="from 5 to 4"):
        collect([[FakeRecord(0, 4)]], {0: 5})
