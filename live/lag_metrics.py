"""Consumer lag for Prometheus, read from the broker: known also if the consumer is down.

The series are those of danielqsj/kafka-exporter, for the pipeline's own topics and groups, with three differences:

- End offsets are last stable offsets, and transaction markers are not counted. The exporter uses the log end offset, so its
  lag includes open transactions, and possibly a marker.
- If a group has committed nothing, its lag is the number of all records, since its first member will read them all. The
  exporter reports -1.
- The sink has no series of members, since it only commits offsets and is not a member of its group. The exporter reports 0.

While Kafka is unavailable, there are no series, rather than outdated ones.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libs.events.topics import PRODUCT_METRICS, SINK_GROUPS
from watch.observation import Observation
from watch.state import READERS, lags_of

_FRESH_FOR_S = 15.0


class LagMetrics(Collector):
    """A Prometheus collector of the newest observation of Kafka.

    Args:
        prefix: the pipeline's ``TOPIC_PREFIX``.
        clock_s: the time, in epoch seconds.
    """

    def __init__(self, prefix: str, clock_s: Callable[[], float]) -> None:
        self._prefix = prefix
        self._clock_s = clock_s
        self._newest: Observation | None = None

    def take(self, seen: Observation) -> None:
        """Set the newest observation."""
        self._newest = seen

    def collect(self) -> Iterator[GaugeMetricFamily]:
        seen = self._newest
        fresh = seen is not None and abs(self._clock_s() - seen.at_s) <= _FRESH_FOR_S  # the clock may be set back
        yield GaugeMetricFamily("kafka_view_up", "Whether Kafka could be looked at just now.", value=float(fresh))
        if seen is not None and fresh:
            yield from self._of_topics(seen)
            yield from self._of_groups(seen)

    def _of_topics(self, seen: Observation) -> Iterable[GaugeMetricFamily]:
        count = GaugeMetricFamily("kafka_topic_partitions", "Partitions of the topic.", labels=["topic"])
        newest = GaugeMetricFamily(
            "kafka_topic_partition_current_offset",
            "Last stable offset: where a reader of committed records comes to the end.",
            labels=["topic", "partition"],
        )
        oldest = GaugeMetricFamily(
            "kafka_topic_partition_oldest_offset", "Offset of the oldest record kept.", labels=["topic", "partition"]
        )
        for topic, ends in seen.ends.items():
            name = self._prefix + topic
            count.add_metric([name], len(ends))
            for partition, end in ends.items():
                newest.add_metric([name, str(partition)], end)
                oldest.add_metric([name, str(partition)], seen.begins[topic][partition])
        return count, newest, oldest

    def _of_groups(self, seen: Observation) -> Iterable[GaugeMetricFamily]:
        by_partition = ["consumergroup", "topic", "partition"]
        members = GaugeMetricFamily("kafka_consumergroup_members", "Members of the group.", labels=by_partition[:1])
        offset = GaugeMetricFamily(
            "kafka_consumergroup_current_offset", "Offset that the group has committed.", labels=by_partition
        )
        lag = GaugeMetricFamily("kafka_consumergroup_lag", "Offsets still to be read.", labels=by_partition)
        lag_sum = GaugeMetricFamily(
            "kafka_consumergroup_lag_sum", "Offsets still to be read, in all partitions.", labels=by_partition[:2]
        )
        for topic, group in READERS.items():
            labels = [self._prefix + _group_of(seen, topic), self._prefix + topic]
            if group in seen.members:
                members.add_metric(labels[:1], seen.members[group])
            for partition, committed in seen.committed[topic].items():
                offset.add_metric([*labels, str(partition)], committed)
            lags = lags_of(seen, topic)
            for partition, left in lags.items():
                lag.add_metric([*labels, str(partition)], left)
            lag_sum.add_metric(labels, sum(lags.values()))
        if seen.in_database:
            labels = [self._prefix + SINK_GROUPS["database"], self._prefix + PRODUCT_METRICS.name]
            for partition, committed in seen.in_database.items():
                offset.add_metric([*labels, str(partition)], committed)
            lags = lags_of(seen, PRODUCT_METRICS.name, seen.in_database)
            for partition, left in lags.items():
                lag.add_metric([*labels, str(partition)], left)
            lag_sum.add_metric(labels, sum(lags.values()))
        return members, offset, lag, lag_sum


def _group_of(seen: Observation, topic: str) -> str:
    """The group whose offsets ``seen.committed`` has: the sink's for its database if that is its only output."""
    if topic == PRODUCT_METRICS.name and seen.by_output.get("database") and not seen.by_output.get("file"):
        return SINK_GROUPS["database"]
    return READERS[topic]
