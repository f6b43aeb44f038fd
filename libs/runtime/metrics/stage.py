"""The metrics of a service that reads one topic exactly once."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.runtime.metrics.series import DURATIONS_S, consumer_lag, counters_by, forget_series, records_consumed, retries

_RECORDS = (1, 10, 100, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)


class StageMetrics:
    """The metrics of a service that reads one topic exactly once.

    Args:
        registry: where the metrics are served from, and the report reads them.
        source: the topic that is read, without prefix.
        outputs: the topics that are written.
        stateful: whether it has a changelog; without one there are no metrics of state.
        from_senders: whether its input comes from outside, so that event time and arrival may differ.
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
        self._consumed = records_consumed(registry).labels(source)
        self._produced = counters_by(
            Counter(
                "pipeline_records_produced",
                "Records written in committed transactions, watermark and changelog records included.",
                ["topic"],
                registry=registry,
            ),
            outputs,
        )
        self.transactions = counters_by(
            Counter("pipeline_transactions", "Transactions by how they ended.", ["outcome"], registry=registry),
            ("committed", "fenced", "timed_out", "failed"),
        )
        self._transaction_duration = Histogram(
            "pipeline_transaction_duration_seconds",
            "From a transaction's first produce request to its commit; only committed ones.",
            buckets=DURATIONS_S,
            registry=registry,
        )
        self._transaction_records = Histogram(
            "pipeline_transaction_records",
            "Input records of a committed transaction.",
            buckets=_RECORDS,
            registry=registry,
        )
        self.retries = retries(registry, ("broker", "fenced", "offset_out_of_range", "error"))
        self.rebalances = Counter(
            "pipeline_rebalances",
            "Times that the group has given this replica its partitions, the first one included.",
            registry=registry,
        )
        self.assigned_partitions = Gauge(
            "pipeline_assigned_partitions", "Partitions that this replica works.", registry=registry
        )
        self.lag = consumer_lag(registry)
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
            buckets=DURATIONS_S,
            registry=state_registry,
        )
        self._state_restored_records = Counter(
            "pipeline_state_restored_records", "Changelog records read to restore state.", registry=state_registry
        )

    def committed(self, consumed: int, produced: Mapping[str, int], seconds: float) -> None:
        """A transaction of ``consumed`` input records was committed, with so many output records by topic."""
        self.transactions["committed"].inc()
        self._transaction_duration.observe(seconds)
        self._transaction_records.observe(consumed)
        self._consumed.inc(consumed)
        for topic, count in produced.items():
            self._produced[topic].inc(count)

    def restored(self, records: int, seconds: float) -> None:
        """The state of a replica's partitions was restored from ``records`` changelog records, in ``seconds``."""
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
        """Set the gauges of a partition that this replica processes."""
        self.lag.labels(self._source, partition).set(lag)
        self.holds(partition, state_entries)
        if watermark_s is not None:
            self.watermark.labels(self._source, partition).set(watermark_s)
        if event_time_lag_s is not None:
            self.event_time_lag.labels(self._source, partition).set(event_time_lag_s)

    def holds(self, partition: int, state_entries: int) -> None:
        """Set the number of entries in a partition's state."""
        self.state_entries.labels(self._source, partition).set(state_entries)

    def forget(self, partition: int) -> None:
        """Remove the partition's series: another replica may process it from now on."""
        for gauge in (self.lag, self.watermark, self.event_time_lag, self.state_entries):
            forget_series(gauge, self._source, partition)
