from collections import Counter

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from live.lag_metrics import LagMetrics
from tests.unit.test_watch_state import T0, observation
from watch.observation import Observation

SEEN = observation(
    begins={"orders": {0: 5, 1: 0}, "processed-orders": {0: 0}, "product-metrics": {0: 0}, "late-orders": {0: 0}},
    ends={"orders": {0: 100, 1: 7}, "processed-orders": {0: 41}, "product-metrics": {0: 9}, "late-orders": {0: 0}},
    committed={"orders": {0: 60}, "processed-orders": {0: 40}, "product-metrics": {0: 4}},
    members={"processor": 2, "analytics": 0},
    dead_letters=Counter(),
)


LABELS = ("consumergroup", "topic", "partition")


def series(seen: Observation | None, now_s: float) -> dict[tuple[str, ...], float]:
    metrics = LagMetrics("mine.", lambda: now_s)
    if seen:
        metrics.take(seen)
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    return {
        (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_series_match_those_of_kafka_exporter() -> None:
    assert series(SEEN, T0 + 1) == {
        ("kafka_view_up",): 1,
        ("kafka_topic_partitions", "mine.orders"): 2,
        ("kafka_topic_partitions", "mine.processed-orders"): 1,
        ("kafka_topic_partitions", "mine.product-metrics"): 1,
        ("kafka_topic_partitions", "mine.late-orders"): 1,
        ("kafka_topic_partition_current_offset", "mine.orders", "0"): 100,
        ("kafka_topic_partition_current_offset", "mine.orders", "1"): 7,
        ("kafka_topic_partition_current_offset", "mine.processed-orders", "0"): 41,
        ("kafka_topic_partition_current_offset", "mine.product-metrics", "0"): 9,
        ("kafka_topic_partition_current_offset", "mine.late-orders", "0"): 0,
        ("kafka_topic_partition_oldest_offset", "mine.orders", "0"): 5,
        ("kafka_topic_partition_oldest_offset", "mine.orders", "1"): 0,
        ("kafka_topic_partition_oldest_offset", "mine.processed-orders", "0"): 0,
        ("kafka_topic_partition_oldest_offset", "mine.product-metrics", "0"): 0,
        ("kafka_topic_partition_oldest_offset", "mine.late-orders", "0"): 0,
        ("kafka_consumergroup_members", "mine.processor"): 2,
        ("kafka_consumergroup_members", "mine.analytics"): 0,
        ("kafka_consumergroup_current_offset", "mine.processor", "mine.orders", "0"): 60,
        ("kafka_consumergroup_current_offset", "mine.analytics", "mine.processed-orders", "0"): 40,
        ("kafka_consumergroup_current_offset", "mine.sink", "mine.product-metrics", "0"): 4,
        ("kafka_consumergroup_lag", "mine.processor", "mine.orders", "0"): 40,
        ("kafka_consumergroup_lag", "mine.processor", "mine.orders", "1"): 7,
        ("kafka_consumergroup_lag", "mine.analytics", "mine.processed-orders", "0"): 0,
        ("kafka_consumergroup_lag", "mine.sink", "mine.product-metrics", "0"): 5,
        ("kafka_consumergroup_lag_sum", "mine.processor", "mine.orders"): 47,
        ("kafka_consumergroup_lag_sum", "mine.analytics", "mine.processed-orders"): 0,
        ("kafka_consumergroup_lag_sum", "mine.sink", "mine.product-metrics"): 5,
    }


def test_an_outdated_lag_is_not_exported() -> None:
    assert series(None, T0) == {("kafka_view_up",): 0}
    assert len(series(SEEN, T0 + 15)) > 1
    assert series(SEEN, T0 + 15.1) == {("kafka_view_up",): 0}
    assert series(SEEN, T0 - 3600) == {("kafka_view_up",): 0}, "the clock was set back since"


def test_the_database_as_second_output_has_its_own_group() -> None:
    lag_series = series(SEEN._replace(by_output={"file": {0: 4}, "database": {0: 2}}), T0 + 1)
    assert lag_series["kafka_consumergroup_lag", "mine.sink-database", "mine.product-metrics", "0"] == 7
    assert lag_series["kafka_consumergroup_lag_sum", "mine.sink-database", "mine.product-metrics"] == 7
    assert lag_series["kafka_consumergroup_current_offset", "mine.sink-database", "mine.product-metrics", "0"] == 2
    assert lag_series["kafka_consumergroup_lag", "mine.sink", "mine.product-metrics", "0"] == 5


def test_the_database_as_only_output_has_its_own_group() -> None:
    committed = {**SEEN.committed, "product-metrics": {0: 2}}
    lag_series = series(SEEN._replace(committed=committed, by_output={"file": {}, "database": {0: 2}}), T0 + 1)
    assert lag_series["kafka_consumergroup_lag", "mine.sink-database", "mine.product-metrics", "0"] == 7
    assert lag_series["kafka_consumergroup_lag_sum", "mine.sink-database", "mine.product-metrics"] == 7
    assert lag_series["kafka_consumergroup_current_offset", "mine.sink-database", "mine.product-metrics", "0"] == 2
    assert not any("mine.sink" in labels for labels in lag_series)
