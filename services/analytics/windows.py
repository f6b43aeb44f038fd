"""Event-time tumbling windows, the clock that closes them, and the changelog that they are restored from."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import orjson

from libs.events.money import MAX_CENTS
from libs.events.product_metrics import ProductMetric
from libs.events.watermarks import LATEST_TIME_S, Watermark, checked_watermark
from libs.runtime.errors import PipelineError

_WATERMARKS_KEY = b"watermarks"
_BEFORE_ALL_S = float("-inf")
_MAX_KEY_BYTES = 200
_MAX_ORDERS = 2**53  # far beyond any window


class WindowKey(NamedTuple):
    """One product's window ``[start_s, end_s)`` in whole epoch seconds."""

    start_s: int
    end_s: int
    product_id: str


class DamagedStateError(PipelineError):
    """A changelog record cannot be decoded."""


class EventClock:
    """The event time that all sources have passed: the minimum of their watermarks.

    ``now_s`` never decreases, not even when a source is added: the windows before it are already closed.
    """

    def __init__(self) -> None:
        self._watermarks_s: dict[int, float] = {}
        self._sources = 0
        self.now_s = _BEFORE_ALL_S

    def advance(self, watermark: Watermark) -> None:
        """Take in a watermark that was read; the latest one of each source counts."""
        self._sources = max(self._sources, watermark.source_count)
        for source in watermark.sources:
            if watermark.watermark_s > self._watermarks_s.get(source, _BEFORE_ALL_S):
                self._watermarks_s[source] = watermark.watermark_s
        if len(self._watermarks_s) == self._sources:
            self.now_s = max(self.now_s, min(self._watermarks_s.values()))

    def encode(self, source_offset: int) -> bytes:
        return orjson.dumps(
            {
                "source_offset": source_offset,
                "clock": None if self.now_s == _BEFORE_ALL_S else self.now_s,
                "sources": self._sources,
                "watermarks": {str(source): mark_s for source, mark_s in self._watermarks_s.items()},
            }
        )

    def restore(self, value: bytes) -> int | None:
        """Take in what ``encode`` wrote; returns the source offset, which records of versions before 0.2 do not have."""
        fields = orjson.loads(value)
        source_offset: int | None = fields.get("source_offset")
        if source_offset is not None and (type(source_offset) is not int or source_offset < 0):
            raise TypeError("source_offset is no offset")
        now_s, sources = fields["clock"], fields["sources"]
        if type(sources) is not int:
            raise TypeError("sources is no whole number")
        marks = [checked_watermark([int(source)], sources, mark_s) for source, mark_s in fields["watermarks"].items()]
        if now_s is not None:
            now_s = checked_watermark([0], sources, now_s).watermark_s
        self.now_s, self._sources = _BEFORE_ALL_S if now_s is None else now_s, sources
        self._watermarks_s = {source: mark.watermark_s for mark in marks for source in mark.sources}
        return source_offset


class Window:
    """The count and sum of a window; ``changed``: since the changelog was last written.

    Each event time in ``[begins_s, ends_s)`` is a valid one and belongs to it.
    """

    __slots__ = ("begins_s", "cents", "changed", "closed", "count", "ends_s", "key")

    def __init__(self, key: WindowKey, count: int = 0, cents: int = 0) -> None:
        self.key = key
        # Floats, since they are compared with every event's time.
        self.begins_s, self.ends_s = float(key.start_s), min(float(key.end_s), LATEST_TIME_S)
        self.count = count
        self.cents = cents
        self.changed = False
        self.closed = False


class TumblingWindows:
    """Order count and revenue per product and window; closed by an ``EventClock``."""

    def __init__(self, window_s: int) -> None:
        self._window_s = window_s
        self._open: dict[int, dict[str, Window]] = {}  # by end and product
        self.latest: dict[str, Window] = {}
        """By product: the window that its next order most likely falls into."""
        self._changed: list[Window] = []
        self.clock = EventClock()
        self.source_offset: int | None = None
        """The source offset that the restored state belongs to."""

    def __len__(self) -> int:
        return sum(len(windows) for windows in self._open.values())

    @property
    def change_count(self) -> int:
        """The number of windows that have changed since ``take_changes`` was last called."""
        return len(self._changed)

    def key_for(self, product_id: str, event_time_s: float) -> WindowKey:
        """The window that an event falls into: aligned to the epoch, start inclusive, end exclusive."""
        end_s = self._end_s(event_time_s)
        return WindowKey(end_s - self._window_s, end_s, product_id)

    def _end_s(self, event_time_s: float) -> int:
        return (int(event_time_s // self._window_s) + 1) * self._window_s

    def add(self, product_id: str, event_time_s: float, cents: int) -> bool:
        """Count an order; returns False if it is late: its window is already closed."""
        window = self.latest.get(product_id)
        if window is None or not window.begins_s <= event_time_s < window.ends_s:
            end_s = self._end_s(event_time_s)
            if end_s <= self.clock.now_s:
                return False
            windows = self._open.setdefault(end_s, {})
            window = windows.get(product_id)
            if window is None:
                window = windows[product_id] = Window(WindowKey(end_s - self._window_s, end_s, product_id))
            self.latest[product_id] = window
        window.count += 1
        window.cents += cents
        if not window.changed:
            window.changed = True
            self._changed.append(window)
        return True

    def advance(self, watermark: Watermark) -> list[ProductMetric]:
        """Advance the clock; returns the metrics of the windows that this closes, earliest first."""
        self.clock.advance(watermark)
        ends = sorted(end_s for end_s in self._open if end_s <= self.clock.now_s)
        return [self._close(window) for end_s in ends for _, window in sorted(self._open.pop(end_s).items())]

    def _close(self, window: Window) -> ProductMetric:
        window.closed = True
        if self.latest.get(window.key.product_id) is window:
            del self.latest[window.key.product_id]
        if not window.changed:
            self._changed.append(window)
        return ProductMetric(*window.key, window.count, window.cents)

    def take_changes(self, source_offset: int) -> Iterator[tuple[bytes, bytes | None]]:
        """The changes since the last call, as changelog keys and values; the value of a closed window is None (a tombstone).

        ``source_offset`` is the next offset to process, to which the state then belongs.
        """
        for window in self._changed:
            window.changed = False
            yield orjson.dumps(list(window.key)), None if window.closed else _encode_totals(window.count, window.cents)
        self._changed.clear()
        yield _WATERMARKS_KEY, self.clock.encode(source_offset)

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take in one changelog record; later ones replace earlier ones.

        Raises:
            DamagedStateError: ``take_changes`` does not write such a record.
        """
        try:
            if key == _WATERMARKS_KEY:
                self.source_offset = self.clock.restore(value or b"")
                return
            window_key = _read_window(key)
            windows = self._open.setdefault(window_key.end_s, {})
            if value is None:
                windows.pop(window_key.product_id, None)
            else:
                windows[window_key.product_id] = Window(window_key, *_read_totals(value))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
            raise DamagedStateError(
                f"the changelog holds a record that is none of ours: key {key[:_MAX_KEY_BYTES]!r}, {error!r}",
                advice="another program writes into analytics-state: stop it, and start again with another TOPIC_PREFIX",
            ) from error


def _read_window(key: bytes) -> WindowKey:
    start_s, end_s, product_id = orjson.loads(key)
    if not type(start_s) is type(end_s) is int or type(product_id) is not str:
        raise TypeError("the key is no window")
    return WindowKey(start_s, end_s, product_id)


class _Totals(msgspec.Struct):
    order_count: int
    revenue_cents: int


_decode_totals = msgspec.json.Decoder(_Totals).decode


def _encode_totals(orders: int, cents: int) -> bytes:
    # As orjson writes it, which refuses a sum from 2**64 on: an hour's worth of large orders.
    return b'{"order_count":%d,"revenue_cents":%d}' % (orders, cents)


def _read_totals(value: bytes) -> tuple[int, int]:
    totals = _decode_totals(value)
    orders, cents = totals.order_count, totals.revenue_cents
    if not (0 < orders <= _MAX_ORDERS and orders <= cents <= orders * MAX_CENTS):
        raise ValueError("no orders have such totals")
    return orders, cents
