"""The watermark of all source partitions of a replica, for one attempt: their minimum.

Each output partition gets one record for all source partitions, so the cost does not grow with the product of both numbers.
If no order has come for so long that no window can be open, no watermark is written until one comes.
"""

from math import floor

from libs.events.watermarks import Watermark
from services.processor.validation import MAX_AHEAD_S

CLOCK_SKEW_S = 60.0
"""How far the broker's clock, which stamps the arrival of orders, may be ahead of this replica's."""


class ReplicaWatermark:
    """Tracks the watermark of each source partition, and the one that was written last.

    Args:
        source_count: the number of partitions of the source topic.
        window_s: the length of a window.
    """

    def __init__(self, source_count: int, window_s: int) -> None:
        self._source_count = source_count
        self._window_s = window_s
        self._values_s: dict[int, float] = {}
        self._lowest_s: float | None = None  # None: to be computed
        self._written: Watermark | None = None
        self._quiet_since_s: float | None = None
        self._last_order_s = 0.0

    def saw_order(self, now_s: float) -> None:
        """Note that an order was read."""
        self._last_order_s = now_s

    def saw_quiet(self, since_s: float | None) -> None:
        """Note since when no partition of the topic has got a record, those of other replicas included; None: unknown."""
        self._quiet_since_s = since_s

    def advance(self, source: int, watermark_s: float | None) -> None:
        """Set the watermark of a source partition; None as long as it has none."""
        if watermark_s is not None and watermark_s != self._values_s.get(source):
            self._values_s[source] = watermark_s
            self._lowest_s = None

    def _lowest(self) -> float:
        # Needed for each partition at each tick, although it changes only with one of them.
        if self._lowest_s is None:
            self._lowest_s = min(self._values_s.values())
        return self._lowest_s

    def is_due(self) -> bool:
        """Whether the current watermark closes more windows than the last one written."""
        if not self._values_s:
            return False
        written = self._written
        if written is None or len(written.sources) != len(self._values_s):
            return True
        # Windows end at whole seconds: a watermark within the same second as the last one closes none.
        return floor(self._lowest()) > floor(written.watermark_s) and not self._has_closed_all(written)

    @property
    def is_complete(self) -> bool:
        """Whether the last watermark has closed all windows, so that none is written until an order comes."""
        written = self._written
        return written is not None and len(written.sources) == len(self._values_s) and self._has_closed_all(written)

    def take(self) -> Watermark:
        """The watermark to write; it then counts as written."""
        self._written = Watermark(tuple(sorted(self._values_s)), self._source_count, self._lowest())
        return self._written

    def _has_closed_all(self, written: Watermark) -> bool:
        """Whether ``written`` has closed all windows. Event time may be ahead of arrival, and the window's end is after that."""
        if self._quiet_since_s is None:
            return False
        arrived_s = max(self._quiet_since_s, self._last_order_s)
        return written.watermark_s >= arrived_s + MAX_AHEAD_S + CLOCK_SKEW_S + self._window_s
