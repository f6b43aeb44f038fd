"""Metrics that several services have, and helpers to create and remove series."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

DURATIONS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Bucket bounds of durations, in seconds."""


def records_consumed(registry: CollectorRegistry, *labels: str) -> Counter:
    """The counter of input records."""
    return Counter(
        "pipeline_records_consumed",
        "Input records in committed transactions, watermark records included; sink: that the output has dealt with.",
        ["topic", *labels],
        registry=registry,
    )


def consumer_lag(registry: CollectorRegistry, *labels: str) -> Gauge:
    """The gauge of records still to be read."""
    return Gauge(
        "pipeline_consumer_lag_records",
        "Offsets from the reader's position to the last stable offset.",
        ["topic", "partition", *labels],
        registry=registry,
    )


def retries(registry: CollectorRegistry, reasons: Iterable[str]) -> dict[str, Counter]:
    """The counters of retries, by reason."""
    return counters_by(
        Counter("pipeline_retries", "Fresh starts from the last commit.", ["reason"], registry=registry), reasons
    )


def counters_by(counter: Counter, values: Iterable[str]) -> dict[str, Counter]:
    """A child of ``counter`` for each value of its label. All start at 0, since rate() needs the value before the first event."""
    return {value: counter.labels(value) for value in values}


def forget_series(gauge: Gauge, *labels: object) -> None:
    """Remove the series with these labels, if there is one."""
    try:
        gauge.remove(*labels)
    except KeyError:
        return


def count_of(counter: Counter) -> int:
    """The sum of all of a counter's series."""
    return int(sum(sample.value for family in counter.collect() for sample in family.samples))
