"""The counts of one transaction of the analytics, added to the metrics when it is committed."""

from libs.events.product_metrics import ProductMetric
from services.analytics.window_metrics import WindowMetrics


class WindowTally:
    """Orders counted, late ones, foreign records, and the windows closed."""

    def __init__(self, metrics: WindowMetrics) -> None:
        self._metrics = metrics
        self.orders = 0
        self.late = 0
        self.foreign = 0
        self.closed: list[ProductMetric] = []

    def count(self, now_s: float) -> None:
        """Add the counts to the metrics: the transaction was committed at ``now_s``."""
        self._metrics.processed.inc(self.orders)
        self._metrics.late.inc(self.late)
        self._metrics.foreign.inc(self.foreign)
        for metric in self.closed:
            self._metrics.closed_window(metric.product_id, metric.order_count, metric.revenue_cents)
        for window_end_s in {metric.window_end for metric in self.closed}:
            self._metrics.latency.observe(max(now_s - window_end_s, 0.0))
