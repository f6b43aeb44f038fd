"""The metrics of the generator."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from libs.runtime.metrics.series import counters_by
from services.shared_metrics import event_latency


class GeneratorMetrics:
    """The metrics of the generator."""

    def __init__(self, registry: CollectorRegistry, faults: Iterable[str], buffer_limit: int) -> None:
        self.sent = Counter(
            "pipeline_orders_sent", "Orders that the broker has confirmed, faulty ones included.", registry=registry
        )
        self.faulty = counters_by(
            Counter(
                "pipeline_faulty_orders",
                "Orders broken on purpose, counted when they are put into the buffer.",
                ["fault"],
                registry=registry,
            ),
            faults,
        )
        self.delivery_errors = counters_by(
            Counter(
                "pipeline_delivery_errors",
                "Batches of orders that could not be handed over yet, or that the broker refused.",
                ["outcome"],
                registry=registry,
            ),
            ("retried", "refused"),
        )
        self.buffered = Gauge(
            "pipeline_buffered_orders", "Orders that the broker has not confirmed yet.", registry=registry
        )
        Gauge("pipeline_buffer_limit_orders", "Most unconfirmed orders that are kept.", registry=registry).set(
            buffer_limit
        )
        self.behind = Gauge(
            "pipeline_behind_seconds", "How far the next order's event time trails the clock.", registry=registry
        )
        self.latency = event_latency(registry)
