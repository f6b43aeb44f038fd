"""Many records into a batch at once.

aiokafka's ``BatchBuilder.append`` takes twice as long as the builder in C that it hands a record to. To be dropped when
aiokafka's own takes many.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import aiokafka
from aiokafka.producer.message_accumulator import BatchBuilder

from libs.runtime.lean_fetch import KNOWN_INSIDE

Row = tuple[bytes | None, bytes | None, int]
"""Key, value, and timestamp in epoch milliseconds."""

Headers = list[tuple[str, bytes | None]]


def append_rows(batch: BatchBuilder, rows: Iterator[Row], headers: Headers) -> Row | None:
    """Append ``rows`` until ``batch`` is full; returns the one that found no room, None if all did."""
    if aiokafka.__version__ != KNOWN_INSIDE:
        return _append_one_by_one(batch, rows, headers)
    inside: Any = batch
    offset, append = inside._relative_offset, inside._builder.append  # noqa: SLF001 - the only seam there is
    refused = None
    for row in rows:
        key, value, timestamp_ms = row
        if append(offset, timestamp_ms, key, value, headers) is None:
            refused = row
            break
        offset += 1
    inside._relative_offset = offset  # noqa: SLF001 - the producer's sequence numbers hang on it
    return refused


def _append_one_by_one(batch: BatchBuilder, rows: Iterable[Row], headers: Headers) -> Row | None:
    for row in rows:
        key, value, timestamp_ms = row
        if batch.append(timestamp=timestamp_ms, key=key, value=value, headers=headers) is None:
            return row
    return None
