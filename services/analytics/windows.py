"""Event-time tumbling windows, the clock that closes them, and the changelog that lets them survive."""

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from libs.events.product_metrics import ProductMetric
from libs.events.watermarks import Watermark, checked_watermark
from libs.runtime.errors import PipelineError

_WATERMARKS_KEY = b"watermarks"
_BEFORE_ALL_S = float("-inf")
_MAX_KEY_TOLD = 200
_MAX_TOTAL = 2**53  # far beyond any window; a total near 2**64 could soon be encoded no more


class WindowKey(NamedTuple):
    """One product's window ``[start_s, end_s)`` in whole epoch seconds."""

    start_s: int
    end_s: int
    product_id: str


class DamagedStateError(PipelineError):
    """A changelog record cannot be understood."""


class EventClock:
    """How far event time has come in all sources together: the slowest one's watermark.

    ``now_s`` never goes back, not even when a source is added, since the windows before it have been closed for good.
    """

    def __init__(self) -> None:
        self._watermarks_s: dict[int, float] = {}
        self._sources = 0
        self.now_s = _BEFORE_ALL_S

    def saw(self, mark: Watermark) -> None:
        """A source's watermark was read. The newest one counts, which is never an earlier one of the same source."""
        self._sources = max(self._sources, mark.sources)
        if mark.watermark_s > self._watermarks_s.get(mark.source, _BEFORE_ALL_S):
            self._watermarks_s[mark.source] = mark.watermark_s
        if len(self._watermarks_s) == self._sources:
            self.now_s = max(self.now_s, min(self._watermarks_s.values()))

    def encode(self) -> bytes:
        return orjson.dumps(
            {
                "clock": None if self.now_s == _BEFORE_ALL_S else self.now_s,
                "sources": self._sources,
                "watermarks": {str(source): mark_s for source, mark_s in self._watermarks_s.items()},
            }
        )

    def restore(self, value: bytes) -> None:
        fields = orjson.loads(value)
        now_s, sources = fields["clock"], fields["sources"]
        if type(sources) is not int:
            raise TypeError("sources is no whole number")
        marks = [checked_watermark(int(source), sources, mark_s) for source, mark_s in fields["watermarks"].items()]
        if now_s is not None:
            now_s = checked_watermark(0, sources, now_s).watermark_s
        self.now_s, self._sources = _BEFORE_ALL_S if now_s is None else now_s, sources
        self._watermarks_s = {mark.source: mark.watermark_s for mark in marks}


class TumblingWindows:
    """Order count and revenue per product and window; closed by an ``EventClock``."""

    def __init__(self, window_s: int) -> None:
        self._window_s = window_s
        self._open: dict[WindowKey, list[int]] = {}  # [order count, revenue in cents]
        self._earliest_end_s = float("inf")
        self._changed: set[WindowKey] = set()
        self.clock = EventClock()

    def __len__(self) -> int:
        return len(self._open)

    def key_for(self, product_id: str, event_time_s: float) -> WindowKey:
        """The window that an event falls into: aligned to the epoch, its start belongs to it, its end does not."""
        start_s = int(event_time_s // self._window_s) * self._window_s
        return WindowKey(start_s, start_s + self._window_s, product_id)

    def add(self, key: WindowKey, cents: int) -> bool:
        """Count an order in; False if its window is closed already: the order is late."""
        if key.end_s <= self.clock.now_s:
            return False
        totals = self._open.get(key)
        if totals is None:
            totals = self._open[key] = [0, 0]
            self._earliest_end_s = min(self._earliest_end_s, key.end_s)
        totals[0] += 1
        totals[1] += cents
        self._changed.add(key)
        return True

    def saw(self, mark: Watermark) -> list[ProductMetric]:
        """Move the clock; returns the windows that this closes, earliest first."""
        self.clock.saw(mark)
        if self.clock.now_s < self._earliest_end_s:
            return []
        closed = sorted(key for key in self._open if key.end_s <= self.clock.now_s)
        metrics = [ProductMetric(*key, *self._open.pop(key)) for key in closed]
        self._changed.update(closed)
        self._earliest_end_s = min((key.end_s for key in self._open), default=float("inf"))
        return metrics

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What changed since the last call, as changelog keys and values; a closed window's value is None."""
        for start_s, end_s, product_id in self._changed:
            totals = self._open.get(WindowKey(start_s, end_s, product_id))
            key = orjson.dumps([start_s, end_s, product_id])
            yield key, None if totals is None else orjson.dumps({"order_count": totals[0], "revenue_cents": totals[1]})
        self._changed.clear()
        yield _WATERMARKS_KEY, self.clock.encode()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take in one changelog record; later ones replace earlier ones.

        Raises:
            DamagedStateError: it is none that ``take_changes`` writes.
        """
        try:
            if key == _WATERMARKS_KEY:
                self.clock.restore(value or b"")
                return
            window = _read_window(key)
            if value is None:
                self._open.pop(window, None)
            else:
                self._open[window] = _read_totals(value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStateError(
                f"the changelog holds a record that is none of ours: key {key[:_MAX_KEY_TOLD]!r}, {error!r}",
                advice="someone else writes into analytics-state: stop that, and use another TOPIC_PREFIX to start afresh",
            ) from error
        self._earliest_end_s = min((key.end_s for key in self._open), default=float("inf"))


def _read_window(key: bytes) -> WindowKey:
    start_s, end_s, product_id = orjson.loads(key)
    if not type(start_s) is type(end_s) is int or type(product_id) is not str:
        raise TypeError("the key is no window")
    return WindowKey(start_s, end_s, product_id)


def _read_totals(value: bytes) -> list[int]:
    fields = orjson.loads(value)
    totals = [fields["order_count"], fields["revenue_cents"]]
    if any(type(total) is not int or not 0 < total <= _MAX_TOTAL for total in totals):
        raise ValueError("the value has no totals")
    return totals
