"""Matches ``late-orders`` with ``processed-orders``, and tells the sums which orders are late."""

from collections import Counter
from collections.abc import Callable

from verification.history import WHOLE, History
from verification.reference_processor import Order
from verification.report import MAX_EXAMPLES, Damage, NotVerified, Report
from verification.window_sums import WindowSums, describe_window

SourceText = Callable[[bytes], str | None]
"""The position in ``orders`` of an order with this identity, as text; None without one."""
MayBeGone = Callable[[bytes], bool]
"""Whether an order with this identity was sent, and its record in ``processed-orders`` may have been deleted."""


class LateOrders:
    """The late orders that have not been matched with a processed order.

    A late order is correct if it is a copy of a processed order before which event time had passed the end of its window. All late orders are
    added before the first processed one is matched.
    """

    def __init__(self, sums: WindowSums, report: Report, history: History) -> None:
        self._sums = sums
        self._report = report
        self._history = history
        # By identity: the number of late orders without a processed order that was late, too.
        self._unmatched: Counter[bytes] = Counter()
        # By identity: the `rest` of each late order without a processed order with the same fields.
        self._rests: dict[bytes, list[int]] = {}
        # By identity of a late order: processed orders that came before event time had passed their window, and whether the sums have them.
        self._on_time: dict[bytes, list[tuple[Order, bool]]] = {}
        # By identity: a late order and its timestamp in ms. Without missing records only a few, as examples for the report.
        self._kept: dict[bytes, tuple[Order, int]] = {}

    def add(self, late: Order, timestamp_ms: int, *, was_sent: bool) -> None:
        """Add an order of ``late-orders``; ``was_sent``: ``orders`` has it."""
        self._unmatched[late.identity] += 1
        self._rests.setdefault(late.identity, []).append(late.rest)
        is_example = not was_sent and len(self._kept) < MAX_EXAMPLES
        if self._history is not WHOLE or is_example:
            self._kept[late.identity] = late, timestamp_ms

    def match(self, processed: Order, passed_s: float, *, read_by_analytics: bool) -> None:
        """Match an order of ``processed-orders``, before which event time had reached ``passed_s``."""
        identity = processed.identity
        rests = self._rests.get(identity)
        if rests and processed.rest in rests:
            rests.remove(processed.rest)
        if identity not in self._unmatched:
            return
        if self._sums.end_of(processed) > passed_s:
            # If the same order comes again later, that one may be the late one.
            self._on_time.setdefault(identity, []).append((processed, read_by_analytics))
            return
        self._unmatched[identity] -= 1
        if not self._unmatched[identity]:
            del self._unmatched[identity]
        if read_by_analytics:
            self._sums.late(processed)

    def close(self, source_text: SourceText, may_be_gone: MayBeGone) -> None:
        """All processed orders have been matched: report the late orders that are left."""
        for identity, count in self._unmatched.items():
            left = count - self._report_on_time(identity, count)
            if left and not self._may_be_right(identity, source_text, may_be_gone):
                self._report.found(Damage.LATE_UNEXPECTED, self._example(identity, source_text), left)
        for identity, rests in self._rests.items():
            if rests and identity not in self._unmatched and not may_be_gone(identity):
                self._report.found(Damage.LATE_CHANGED, self._example(identity, source_text), len(rests))

    def _report_on_time(self, identity: bytes, late_count: int) -> int:
        """Report late orders that were on time; returns their number."""
        on_time = self._on_time.get(identity, [])[:late_count]
        for order, is_counted in on_time:
            self._report.found(Damage.LATE_TOO_EARLY, describe_window(self._sums.window_of(order)))
            if is_counted:
                self._sums.late(order)  # so that its window's metric is not reported as well
        return len(on_time)

    def _may_be_right(self, identity: bytes, source_text: SourceText, may_be_gone: MayBeGone) -> bool:
        """Whether the processed order of a late order may have been deleted; then it counts as late."""
        order, timestamp_ms = self._kept.get(identity, (None, 0))
        if order is None:
            return False
        if source_text(identity) is None:
            if timestamp_ms > self._history.orders_missing_until_ms:
                return False
            self._report.not_verified[NotVerified.LATE] += 1
            return True
        if not may_be_gone(identity):
            return False
        self._sums.late(order)
        return True

    def _example(self, identity: bytes, source_text: SourceText) -> str:
        order, _ = self._kept.get(identity, (None, 0))
        return source_text(identity) or (order.summary if order else "another one")
