"""The day or hour that a report covers."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_HOUR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)(:00)?(:00)?Z?")


class Span(NamedTuple):
    """A day or an hour in UTC: the windows that begin in ``[from_s, to_s)``, epoch seconds.

    ``name`` is ``2026-11-27`` or ``2026-11-27T14``, and suitable as a file name.
    """

    name: str
    from_s: int
    to_s: int

    @property
    def is_day(self) -> bool:
        return self.to_s - self.from_s > timedelta(hours=1).total_seconds()

    @property
    def title(self) -> str:
        """For a headline."""
        start = datetime.fromtimestamp(self.from_s, UTC)
        return f"{start:%A, %d %B %Y}" if self.is_day else f"{start:%A, %d %B %Y, %H:00} to {start:%H}:59 UTC"

    def last_window_end_s(self, window_seconds: int) -> int:
        """The end of the last window that begins in the span; after the span's end if its length is not a multiple of the window's."""
        return (self.to_s - 1) // window_seconds * window_seconds + window_seconds

    def has_window(self, start_s: int) -> bool:
        return self.from_s <= start_s < self.to_s


def parse_span(text: str) -> Span:
    """The day or hour in ``text``, which may include the minutes and the time zone: ``2026-11-27T14:00:00Z``.

    Raises:
        ValueError: it is neither, or before 1970, as no order is.
    """
    span = None
    try:
        if _DAY.fullmatch(text):
            span = _span(text, datetime.fromisoformat(text), timedelta(days=1))
        elif hour := _HOUR.fullmatch(text):
            span = _span(hour[1], datetime.fromisoformat(hour[1]), timedelta(hours=1))
    except (ValueError, OverflowError):
        pass
    if span is not None and span.from_s >= 0:
        return span
    raise ValueError(
        f"{text!r} is neither a day as in 2026-11-27 nor an hour as in 2026-11-27T14, in UTC, from 1970 on"
    )


def yesterday(now: datetime) -> Span:
    """The previous day, in UTC."""
    return parse_span(f"{now.astimezone(UTC) - timedelta(days=1):%Y-%m-%d}")


def _span(name: str, start: datetime, length: timedelta) -> Span:
    start = start.replace(tzinfo=UTC)
    return Span(name, int(start.timestamp()), int((start + length).timestamp()))
