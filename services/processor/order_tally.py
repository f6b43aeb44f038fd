"""The counts of one transaction of the processor, added to the metrics when it is committed."""

from collections import Counter

from libs.events.dead_letters import Reason
from services.processor.order_metrics import OrderMetrics


class OrderTally:
    """Valid orders, dead letters, and the ages of the newest orders of the first and the last batch."""

    def __init__(self, metrics: OrderMetrics) -> None:
        self._metrics = metrics
        self._event_times_s: list[float] = []
        self.orders = 0
        self.dead_letters: Counter[Reason] = Counter()

    def processed(self, orders: int, newest_s: float) -> None:
        """Add a batch with so many valid orders; the newest has the event time ``newest_s``."""
        self.orders += orders
        self._event_times_s[1:] = (newest_s,)

    def count(self, now_s: float) -> None:
        """Add the counts to the metrics: the transaction was committed at ``now_s``."""
        self._metrics.processed.inc(self.orders)
        for reason, count in self.dead_letters.items():
            self._metrics.dead_letters[reason].inc(count)
        for event_time_s in self._event_times_s:
            self._metrics.latency.observe(max(now_s - event_time_s, 0.0))
