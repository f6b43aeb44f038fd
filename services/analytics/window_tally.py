"""The counts of one transaction of the analytics, added to the metrics when it is committed."""

from collections import Counter

from libs.events.dead_letters import Reason
from libs.events.product_metrics import ProductMetric
from services.analytics.window_metrics import WindowMetrics


class WindowTally:
    """Orders counted, late ones, dead letters, and the windows closed."""

    def __init__(self, metrics: WindowMetrics) -> None:
        self._metrics = metrics
        self.orders = 0
        self.late = 0
        self.dead_letters: Counter[Reason] = Counter()
        self.closed: list[ProductMetric] = []

    def count(self, now_s: float) -> None:
        """Add the counts to the metrics: the transaction was committed at ``now_s``."""
        self._metrics.processed.inc(self.orders)
        self._metrics.late.inc(self.late)
        for reason, count in self.dead_letters.items():
            self._metrics.dead_letters[reason].inc(count)
        for metric in self.closed:
            self._metrics.closed_window(metric.product_id, metric.order_count, metric.revenue_cents)
        for window_end_s in {metric.window_end for metric in self.closed}:
            self._metrics.latency.observe(max(now_s - window_end_s, 0.0))
