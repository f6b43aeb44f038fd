"""The processor's metrics of orders."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from services.shared_metrics import dead_letters, event_latency, orders_processed


class OrderMetrics:
    """The processor's metrics of orders."""

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str]) -> None:
        self.processed = orders_processed(registry)
        self.dead_letters = dead_letters(registry, reasons)
        self.latency = event_latency(registry)
