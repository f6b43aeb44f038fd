"""The computed sizes equal those of the client's own builder."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from libs.events.record_sizes import at_most_bytes, batch_bytes

LENGTHS = st.sampled_from([0, 1, 50, 63, 64, 65, 8_190, 8_191, 8_192, 8_193, 1_048_570, 1_048_576])
BYTES = LENGTHS.map(lambda length: b"x" * length)
HEADERS = st.lists(st.tuples(st.text(max_size=70), st.none() | BYTES), max_size=3) | st.lists(
    st.just(("a", b"")), min_size=60, max_size=70
)


@given(key=st.none() | BYTES, value=st.none() | BYTES, headers=HEADERS)
def test_the_size_of_a_batch_of_one_record(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 1, -1, -1, 0, 2**30)
    builder.append(0, 1_700_000_000_000, key, value, headers)
    assert batch_bytes(key, value, headers) == builder.size()


@given(value=BYTES, headers=HEADERS)
def test_an_upper_bound_of_the_size_of_value_and_headers(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    around = 61 + 5 + 3 + 1 + 5 + 5  # the batch, the record's own fields, no key, and the lengths of value and headers
    assert batch_bytes(None, value, headers) <= at_most_bytes(value, headers) + around
