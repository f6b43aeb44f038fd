"""Batches filled through the pinned aiokafka's inside are the batches that its own ``append`` fills."""

import aiokafka
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from libs.runtime.lean_append import Headers, Row, append_rows

HEADERS: Headers = [("type", b"order")]
ROWS: list[Row] = [
    (None if n % 7 == 0 else b"key-%d" % (n % 5), b"v" * (n % 300), 1_700_000_000_000 + n) for n in range(500)
]
ROOM_BYTES = 20_000


def batch() -> BatchBuilder:
    return BatchBuilder(ROOM_BYTES, 0, is_transactional=True)


def aiokafkas_own(count: int) -> BatchBuilder:
    own = batch()
    for key, value, timestamp_ms in ROWS[:count]:
        assert own.append(timestamp=timestamp_ms, key=key, value=value, headers=HEADERS) is not None
    return own


@pytest.mark.parametrize("version", [aiokafka.__version__, "another"])
def test_the_same_bytes_and_the_same_count(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiokafka, "__version__", version)
    filled = batch()
    for first in range(0, 100, 10):
        assert append_rows(filled, iter(ROWS[first : first + 10]), HEADERS) is None
    assert filled.record_count() == 100  # what the producer's sequence numbers hang on
    assert bytes(filled._build()) == bytes(aiokafkas_own(100)._build())


@pytest.mark.parametrize("version", [aiokafka.__version__, "another"])
def test_the_row_that_finds_no_room_comes_back(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiokafka, "__version__", version)
    full, rows = batch(), iter(ROWS)
    refused = append_rows(full, rows, HEADERS)
    taken = full.record_count()
    assert refused == ROWS[taken]
    assert next(rows) == ROWS[taken + 1]
    assert bytes(full._build()) == bytes(aiokafkas_own(taken)._build())
