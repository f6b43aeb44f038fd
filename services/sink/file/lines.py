"""Converts the values of records to lines of the metrics file."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import orjson

from libs.events.product_metrics import LAST_SECOND
from services.sink.file.finished_files import Span

_READ_LINES = 10_000


class Line(NamedTuple):
    """A metric's original bytes on one line, without line end; its window in epoch seconds, None where it has none."""

    text: bytes
    window_start: float | None
    window_end: float | None


# msgspec accepts integers of any length, also those that most JSON parsers reject.
_Second = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Metric(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A metric as the analytics writes it. It has no other fields, so decoding checks every byte."""

    window_start: _Second
    window_end: _Second
    product_id: str
    order_count: _Count
    total_revenue: float
    avg_order_value: float


_decode = msgspec.json.Decoder(_Metric).decode


def lines_of(values: Sequence[bytes | None]) -> list[Line]:
    """A line for each value; raises ``ValueError`` unless each is a JSON object."""
    try:
        metrics = list(map(_decode, values))  # type: ignore[arg-type]  # None is rejected, too
        text = b"".join(values)  # type: ignore[arg-type]
        if b"\n" not in text and b"\r" not in text:
            starts = [metric.window_start for metric in metrics]
            ends = [metric.window_end for metric in metrics]
            return list(map(Line._make, zip(values, starts, ends, strict=True)))
    except (msgspec.MsgspecError, TypeError, RecursionError):
        pass  # a record without these fields was not written by the analytics; it is kept unchanged
    return [_line_of(value) for value in values]


def span_of(lines: Sequence[Line]) -> Span | None:
    """The starts of the first and the last window of ``lines``; None if no line has a window."""
    starts = [int(line.window_start) for line in lines if line.window_start is not None]
    starts = [start for start in starts if 0 <= start <= LAST_SECOND]
    return Span(min(starts), max(starts)) if starts else None


def span_in(path: Path) -> Span | None:
    """``span_of`` all lines of a metrics file; raises ``OSError``."""
    span = None
    with path.open("rb") as file:
        while lines := [line.rstrip(b"\n") for line in islice(file, _READ_LINES)]:
            found = span_of(lines_of(lines))
            span = found.joined(span) if found else span
    return span


def _line_of(value: bytes | None) -> Line:
    if value is None:
        raise ValueError("no value")
    fields = orjson.loads(value)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a wrong value, not a wrong type of an argument
    # In a JSON string a line break is escaped, so an unescaped one is whitespace between tokens.
    text = value.strip().replace(b"\n", b" ").replace(b"\r", b" ")
    return Line(text, _number(fields.get("window_start")), _number(fields.get("window_end")))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
