"""All metrics of the pipeline, as Prometheus sees them. docs/metrics.md is their table, and a test compares the two.

A class holds what one kind of service tells; each service makes those it needs in the registry that it serves. Nothing is
counted per record: what a transaction did is added when it is committed.
"""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from libs.runtime.health import Health

# A series for each counter, with what process_start_time_seconds says already.
disable_created_metrics()  # type: ignore[no-untyped-call]

_PREFIX = "pipeline_"
_PRODUCTS_TOLD = 50
_OTHER_PRODUCTS = "other"

_SHORT_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0, 3600.0)
_RECORDS = (1, 10, 100, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)


class ServiceMetrics:
    """What every service tells."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        ProcessCollector(registry=registry)
        healthy = Gauge("pipeline_healthy", "1 while /health says so, otherwise 0.", registry=registry)
        healthy.set_function(lambda: float(health.report()[0]))


class StageMetrics:
    """What a service tells that reads one topic exactly once.

    Args:
        registry: where the metrics are served from, and the report reads them.
        source: the topic that is read, without prefix.
        outputs: the topics that are written.
        stateful: whether it has a changelog; without one nothing is told of state.
        from_senders: whether what it reads comes from outside, so that event time and arrival may differ.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        source: str,
        outputs: Iterable[str],
        *,
        stateful: bool,
        from_senders: bool = False,
    ) -> None:
        self.registry = registry
        self._source = source
        self._consumed = _records_consumed(registry).labels(source)
        self._produced = _by(
            Counter(
                "pipeline_records_produced",
                "Records written in committed transactions, watermark and changelog records included.",
                ["topic"],
                registry=registry,
            ),
            outputs,
        )
        self.transactions = _by(
            Counter("pipeline_transactions", "Transactions by how they ended.", ["outcome"], registry=registry),
            ("committed", "fenced", "timed_out", "failed"),
        )
        self._transaction_duration = Histogram(
            "pipeline_transaction_duration_seconds",
            "From a transaction's first produce request to its commit; only committed ones.",
            buckets=_SHORT_S,
            registry=registry,
        )
        self._transaction_records = Histogram(
            "pipeline_transaction_records",
            "Input records of a committed transaction.",
            buckets=_RECORDS,
            registry=registry,
        )
        self.retries = _retries(registry, ("broker", "fenced", "offset_out_of_range", "error"))
        self.rebalances = Counter(
            "pipeline_rebalances",
            "Times that the group has given this replica its partitions, the first one included.",
            registry=registry,
        )
        self.assigned_partitions = Gauge(
            "pipeline_assigned_partitions", "Partitions that this replica works.", registry=registry
        )
        self.lag = _consumer_lag(registry)
        self.watermark = Gauge(
            "pipeline_watermark_timestamp_seconds",
            "How far event time has come, in epoch seconds: in this partition (processor), or in the slowest source as "
            "known in this partition (analytics).",
            ["topic", "partition"],
            registry=registry,
        )
        self.event_time_lag = Gauge(
            "pipeline_event_time_lag_seconds",
            "How far event time trails the arrival of the newest order in this partition.",
            ["topic", "partition"],
            registry=registry if from_senders else None,
        )
        state_registry = registry if stateful else None
        self.state_entries = Gauge(
            "pipeline_state_entries",
            "Entries of state in memory: the open windows, one for each product and window.",
            ["topic", "partition"],
            registry=state_registry,
        )
        self._state_restore = Histogram(
            "pipeline_state_restore_seconds",
            "Time to restore the state of all of a replica's partitions from the changelog.",
            buckets=_SHORT_S,
            registry=state_registry,
        )
        self._state_restored_records = Counter(
            "pipeline_state_restored_records", "Changelog records read to restore state.", registry=state_registry
        )

    def committed(self, consumed: int, produced: Mapping[str, int], seconds: float) -> None:
        """A transaction of ``consumed`` input records is visible, with so many output records by topic."""
        self.transactions["committed"].inc()
        self._transaction_duration.observe(seconds)
        self._transaction_records.observe(consumed)
        self._consumed.inc(consumed)
        for topic, count in produced.items():
            self._produced[topic].inc(count)

    def restored(self, records: int, seconds: float) -> None:
        """A partition's state was read from so many changelog records."""
        self._state_restored_records.inc(records)
        self._state_restore.observe(seconds)

    def progress(
        self,
        partition: int,
        lag: int,
        watermark_s: float | None,
        state_entries: int,
        event_time_lag_s: float | None = None,
    ) -> None:
        """How things stand in a partition that this replica works."""
        self.lag.labels(self._source, partition).set(lag)
        self.state_entries.labels(self._source, partition).set(state_entries)
        if watermark_s is not None:
            self.watermark.labels(self._source, partition).set(watermark_s)
        if event_time_lag_s is not None:
            self.event_time_lag.labels(self._source, partition).set(event_time_lag_s)

    def forget(self, partition: int) -> None:
        """Another replica may work the partition from now on: its series end here."""
        for gauge in (self.lag, self.watermark, self.event_time_lag, self.state_entries):
            _forget(gauge, self._source, partition)


class OrderMetrics:
    """What the processor tells of orders."""

    def __init__(self, registry: CollectorRegistry, reasons: Iterable[str]) -> None:
        self.processed = _orders_processed(registry)
        self.dead_letters = _dead_letters(registry, reasons)
        self.latency = _event_latency(registry)


class WindowMetrics:
    """What the analytics tells of windows. ``foreign`` is the reason that its dead letters have."""

    def __init__(self, registry: CollectorRegistry, foreign: str) -> None:
        self.processed = _orders_processed(registry)
        self.foreign = _dead_letters(registry, [foreign])[foreign]
        self.latency = _event_latency(registry)
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
        """A product's window is closed, and its metrics are visible."""
        self.closed.inc()
        if len(self._products) < _PRODUCTS_TOLD:
            self._products.add(product_id)
        told = product_id if product_id in self._products else _OTHER_PRODUCTS
        self._orders.labels(told).inc(orders)
        self._revenue.labels(told).inc(cents / 100)


class GeneratorMetrics:
    """What the generator tells."""

    def __init__(self, registry: CollectorRegistry, faults: Iterable[str], buffer_limit: int) -> None:
        self.sent = Counter(
            "pipeline_orders_sent", "Orders that the broker has confirmed, faulty ones included.", registry=registry
        )
        self.faulty = _by(
            Counter(
                "pipeline_faulty_orders",
                "Orders broken on purpose, counted when they are put into the buffer.",
                ["fault"],
                registry=registry,
            ),
            faults,
        )
        self.delivery_errors = _by(
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
        self.latency = _event_latency(registry)


class SinkMetrics:
    """What the sink tells of the topic that it reads, and of each output that it writes.

    Args:
        registry: where the metrics are served from, and the report reads them.
        source: the topic that is read, without prefix.
        outputs: the kinds of the outputs that are written.
    """

    def __init__(self, registry: CollectorRegistry, source: str, outputs: Iterable[str]) -> None:
        self.registry = registry
        self.source = source
        self.consumed = _records_consumed(registry, "output")
        self.lag = _consumer_lag(registry, "output")
        self.latency = _event_latency(registry, "output")
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
            buckets=_SHORT_S,
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
    """What the sink tells of one output: the series of ``metrics`` that have its name."""

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
        """How much of each partition is still to be read."""
        for partition, lag in lags.items():
            self._lag.labels(self._source, partition, self.output).set(lag)
        self._lags |= lags

    def forget(self) -> None:
        """Another sink may write from now on, or nobody knows the lag: its series end here."""
        for partition in self._lags:
            _forget(self._lag, self._source, partition, self.output)
        self._lags.clear()

    def counts(self) -> dict[str, int]:
        """What has been counted since the start, and the lag, for the log."""
        counters = {
            "records_consumed": self.consumed,
            "metrics_written": self.written,
            "foreign_records": self.foreign,
            **{f"retries_{reason}": counter for reason, counter in self.retries.items()},
        }
        counted = {name: _count(counter) for name, counter in counters.items()}
        return {name: count for name, count in counted.items() if count} | {"lag": sum(self._lags.values())}


def _records_consumed(registry: CollectorRegistry, *labels: str) -> Counter:
    """The counter of input records."""
    return Counter(
        "pipeline_records_consumed",
        "Input records in committed transactions, watermark records included; sink: that the output has dealt with.",
        ["topic", *labels],
        registry=registry,
    )


def _consumer_lag(registry: CollectorRegistry, *labels: str) -> Gauge:
    """How much there is to read."""
    return Gauge(
        "pipeline_consumer_lag_records",
        "Offsets from the reader's position to the last stable offset.",
        ["topic", "partition", *labels],
        registry=registry,
    )


def _retries(registry: CollectorRegistry, reasons: Iterable[str]) -> dict[str, Counter]:
    """The counters of fresh starts, by reason."""
    return _by(
        Counter("pipeline_retries", "Fresh starts from the last commit.", ["reason"], registry=registry), reasons
    )


def _event_latency(registry: CollectorRegistry, *labels: str) -> Histogram:
    """From event time to this stage."""
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


def _orders_processed(registry: CollectorRegistry) -> Counter:
    return Counter(
        "pipeline_orders_processed",
        "Orders found valid (processor), or counted into a window (analytics).",
        registry=registry,
    )


def _dead_letters(registry: CollectorRegistry, reasons: Iterable[str]) -> dict[str, Counter]:
    return _by(
        Counter("pipeline_dead_letters", "Records written to orders-dlq.", ["reason"], registry=registry), reasons
    )


def _by(counter: Counter, values: Iterable[str]) -> dict[str, Counter]:
    """``counter``'s children for all values of its label: they are 0 from the start, or rate() misses the first one."""
    return {value: counter.labels(value) for value in values}


def _forget(gauge: Gauge, *labels: object) -> None:
    """Remove the series with these labels, if there is one."""
    try:
        gauge.remove(*labels)
    except KeyError:
        return


def _count(counter: Counter) -> int:
    return int(sum(sample.value for family in counter.collect() for sample in family.samples))


def totals(registry: CollectorRegistry) -> dict[str, float]:
    """Every counter that has counted, by a short name for the log; products have too many to be told there."""
    return {
        "_".join([sample.name.removeprefix(_PREFIX).removesuffix("_total"), *sample.labels.values()]): sample.value
        for family in registry.collect()
        if family.type == "counter" and family.name.startswith(_PREFIX)
        for sample in family.samples
        if sample.value and "product_id" not in sample.labels
    }


def values_of(gauge: Gauge) -> list[float]:
    """The value of each of a gauge's series."""
    return [sample.value for family in gauge.collect() for sample in family.samples]
