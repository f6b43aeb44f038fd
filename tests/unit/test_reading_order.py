"""Both stages together, without Kafka: the metrics are exact for any order in which partitions are read."""

from collections import defaultdict
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import Reason
from services.analytics.analytics_partition import AnalyticsPartition
from services.analytics.window_metrics import WindowMetrics
from services.processor.catalogue import make_product
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_metrics import OrderMetrics
from services.processor.order_partition import OrderPartition
from services.processor.replica_watermark import ReplicaWatermark
from services.processor.source_watermark import SourceWatermark
from tests.unit.driver import FakeClock, FakeOutput, FakeRecord, LogicDriver, order_record

SOURCES = 3
BOUND_S = 5.0
PRODUCTS = ["prod-1", "prod-2", "prod-3"]
CATALOGUE = {name: make_product(name, {"product_name": name, "category": "c"}) for name in PRODUCTS}

# (source, product, seconds since the previous order, delay in seconds, cents)
arrivals = st.lists(
    st.tuples(
        st.integers(0, SOURCES - 1),
        st.sampled_from(PRODUCTS),
        st.floats(0, 40, allow_nan=False).map(lambda s: round(s, 3)),
        st.floats(0, BOUND_S, allow_nan=False).map(lambda s: round(s, 3)),
        st.integers(1, 50_000),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(arrivals, st.randoms(use_true_random=False))
def test_every_order_is_in_its_window_for_any_reading_order(
    arrivals: list[tuple[int, str, float, float, int]], random: Random
) -> None:
    logs: list[list[FakeRecord]] = [[] for _ in range(SOURCES)]
    truth: dict[tuple[int, str], list[int]] = defaultdict(list)
    now_s = 1_000_000.0
    for number, (source, product, gap_s, lateness_s, cents) in enumerate(arrivals):
        now_s += gap_s
        event_time_s = round(now_s - lateness_s, 3)
        record = order_record(number, product_id=product, amount=cents / 100, timestamp=event_time_s)
        logs[source].append(replace(record, partition=source, offset=len(logs[source])))
        truth[int(event_time_s // 60) * 60, product].append(cents)

    clock = FakeClock(now_s)
    lag = EventTimeLag("orders", None, clock)
    orders = OrderMetrics(CollectorRegistry(), Reason)
    windows = WindowMetrics(CollectorRegistry())
    processed = FakeOutput(partitions=2)
    one_replica = ReplicaWatermark(SOURCES, 60)
    processors = [
        LogicDriver(
            OrderPartition("orders", s, CATALOGUE, SourceWatermark(BOUND_S, 10.0), one_replica, lag, clock, orders),
            processed,
        )
        for s in range(SOURCES)
    ]
    waiting = [source for source in range(SOURCES) if logs[source]]
    while waiting:
        source = random.choice(waiting)
        size = random.randint(1, 10)
        processors[source].pipe(logs[source][:size])
        del logs[source][:size]
        waiting = [source for source in range(SOURCES) if logs[source]]
    for driver in processors:
        driver.idle([now_s + step / 2 for step in range(200)])

    metrics = FakeOutput(partitions=2)
    for partition in range(2):
        log = processed.records["processed-orders", partition]
        analytics = LogicDriver(AnalyticsPartition("processed-orders", partition, 60, clock, windows), metrics)
        while log:
            size = random.randint(1, 10)
            analytics.pipe(log[:size])
            del log[:size]
        assert analytics.logic.state_size == 0

    assert metrics.topic("late-orders") == []
    found = [
        (m["window_start"], m["product_id"], m["order_count"], round(m["total_revenue"] * 100))
        for m in metrics.values("product-metrics")
    ]
    expected = [(start_s, product, len(cents), sum(cents)) for (start_s, product), cents in truth.items()]
    assert sorted(found) == sorted(expected)
