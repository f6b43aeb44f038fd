"""Metrics of orders and windows that several services have."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from libs.runtime.metrics.series import counters_by

_LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0, 3600.0)


def event_latency(registry: CollectorRegistry, *labels: str) -> Histogram:
    """The histogram of seconds from event time to this stage."""
    return Histogram(
        "pipeline_event_latency_seconds",
        "Generator: from event time to confirmed by the broker, for the oldest order of each batch. "
        "Processor: from event time to visible, for the newest order of each transaction's first and last batch. "
        "Analytics: from a window's end to its metrics visible, once for each window and transaction. "
        "Sink: from a window's end to its metrics safe in the output, once for each window and write.",
        labels,
        buckets=_LATENCY_S,
        registry=registry,
    )


def orders_processed(registry: CollectorRegistry) -> Counter:
    """The counter of orders that a stage has processed."""
    return Counter(
        "pipeline_orders_processed",
        "Orders found valid (processor), or counted into a window (analytics).",
        registry=registry,
    )


def dead_letters(registry: CollectorRegistry, reasons: Iterable[str]) -> dict[str, Counter]:
    """The counters of dead letters, by reason."""
    return counters_by(
        Counter("pipeline_dead_letters", "Records written to orders-dlq.", ["reason"], registry=registry), reasons
    )
