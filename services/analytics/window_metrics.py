"""The analytics' metrics of windows."""

from prometheus_client import CollectorRegistry, Counter

from services.order_series import dead_letters, event_latency, orders_processed

_MAX_LABELLED_PRODUCTS = 50
_OTHER_PRODUCTS = "other"


class WindowMetrics:
    """The analytics' metrics of windows. ``foreign`` is the reason that its dead letters have."""

    def __init__(self, registry: CollectorRegistry, foreign: str) -> None:
        self.processed = orders_processed(registry)
        self.foreign = dead_letters(registry, [foreign])[foreign]
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
