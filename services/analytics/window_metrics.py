"""The analytics' metrics of windows."""

from prometheus_client import CollectorRegistry, Counter

from libs.events.dead_letters import Reason
from services.shared_metrics import dead_letters, event_latency, orders_processed

_MAX_LABELLED_PRODUCTS = 50
_OTHER_PRODUCTS = "other"
_REASONS = (Reason.MALFORMED, Reason.TOO_LARGE)


class WindowMetrics:
    """The analytics' metrics of windows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.processed = orders_processed(registry)
        self.dead_letters = dead_letters(registry, _REASONS)
        self.latency = event_latency(registry)
        self.late = Counter("pipeline_late_orders", "Orders whose window was closed already.", registry=registry)
        self.closed = Counter(
            "pipeline_windows_closed", "Closed windows, one for each product and window.", registry=registry
        )
        self._orders = Counter(
            "pipeline_closed_orders",
            "Orders in closed windows; product_id is other beyond the first 50 products.",
            ["product_id"],
            registry=registry,
        )
        self._revenue = Counter(
            "pipeline_closed_revenue_dollars",
            "Revenue in closed windows, in dollars; product_id is other beyond the first 50 products.",
            ["product_id"],
            registry=registry,
        )
        self._products: set[str] = set()

    def closed_window(self, product_id: str, orders: int, cents: int) -> None:
        """Count a product's closed window, whose metrics have been committed."""
        self.closed.inc()
        if len(self._products) < _MAX_LABELLED_PRODUCTS:
            self._products.add(product_id)
        label = product_id if product_id in self._products else _OTHER_PRODUCTS
        self._orders.labels(label).inc(orders)
        self._revenue.labels(label).inc(cents / 100)
