"""The metrics of the sink: of the topic that it reads, and of each output that it writes."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.runtime.metrics.series import DURATIONS_S, consumer_lag, count_of, forget_series, records_consumed
from services.shared_metrics import event_latency


class SinkMetrics:
    """The metrics of the sink: of the topic that it reads, and of each output that it writes.

    Args:
        registry: where the metrics are served from.
        source: the topic that is read, without prefix.
        outputs: the kinds of outputs that are written.
    """

    def __init__(self, registry: CollectorRegistry, source: str, outputs: Iterable[str]) -> None:
        self.source = source
        self.consumed = records_consumed(registry, "output")
        self.lag = consumer_lag(registry, "output")
        self.latency = event_latency(registry, "output")
        label = ["output"]
        self.written = Counter("pipeline_metrics_written", "Metrics written and safe.", label, registry=registry)
        self.foreign = Counter(
            "pipeline_foreign_records", "Records that have no place in the output, left out.", label, registry=registry
        )
        self.retries = Counter(
            "pipeline_retries", "Fresh starts from the last commit.", ["reason", "output"], registry=registry
        )
        self.write_duration = Histogram(
            "pipeline_write_duration_seconds",
            "Time of a write until it is safe: lines, fsync, checkpoint; or a database transaction.",
            label,
            buckets=DURATIONS_S,
            registry=registry,
        )
        self.output_bytes = Gauge(
            "pipeline_output_bytes",
            "Size of the output: the file's length up to its checkpoint, what the table takes in the database.",
            label,
            registry=registry,
        )
        self.checkpoint = Gauge(
            "pipeline_checkpoint_timestamp_seconds",
            "When the output's offsets were last moved, in epoch seconds; 0 before the first time since the start.",
            label,
            registry=registry,
        )
        self.standby = Gauge(
            "pipeline_standby", "1 while another sink writes this output, otherwise 0.", label, registry=registry
        )
        self.outputs = {output: OutputMetrics(self, output) for output in outputs}


class OutputMetrics:
    """The metrics of one output: the series of ``metrics`` with its name."""

    def __init__(self, metrics: SinkMetrics, output: str) -> None:
        self.output = output
        self._source = metrics.source
        self._lag = metrics.lag
        self._lags: dict[int, int] = {}
        self.consumed = metrics.consumed.labels(metrics.source, output)
        self.written = metrics.written.labels(output)
        self.foreign = metrics.foreign.labels(output)
        self.retries = {
            reason: metrics.retries.labels(reason, output)
            for reason in ("broker", "stuck", "output_unavailable", "output_changed", "topic_rewound", "failed")
        }
        self.write_duration = metrics.write_duration.labels(output)
        self.output_bytes = metrics.output_bytes.labels(output)
        self.checkpoint = metrics.checkpoint.labels(output)
        self.standby = metrics.standby.labels(output)
        self.latency = metrics.latency.labels(output)

    def progress(self, lags: Mapping[int, int]) -> None:
        """Set the lag of each partition."""
        for partition, lag in lags.items():
            self._lag.labels(self._source, partition, self.output).set(lag)
        self._lags |= lags

    def forget(self) -> None:
        """Remove the lag's series: another sink may write from now on, or the lag is unknown."""
        for partition in self._lags:
            forget_series(self._lag, self._source, partition, self.output)
        self._lags.clear()

    def counts(self) -> dict[str, int]:
        """The counts since the start, and the lag, for the log."""
        counters = {
            "records_consumed": self.consumed,
            "metrics_written": self.written,
            "foreign_records": self.foreign,
            **{f"retries_{reason}": counter for reason, counter in self.retries.items()},
        }
        counted = {name: count_of(counter) for name, counter in counters.items()}
        return {name: count for name, count in counted.items() if count} | {"lag": sum(self._lags.values())}
