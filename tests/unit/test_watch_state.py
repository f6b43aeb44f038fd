from collections import Counter
from typing import Any

import pytest

from libs.events.money import MAX_CENTS
from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.watermarks import Watermark
from watch.observation import Metric, Observation, decode_metric
from watch.state import Rate, State, lags_of
from watch.wording import time_behind

T0 = 1_700_000_000.0


def observation(at_s: float = T0, **changes: Any) -> Observation:
    quiet = Observation(
        at_s=at_s,
        begins={"orders": {0: 0}, "processed-orders": {0: 0}, "product-metrics": {0: 0}},
        ends={"orders": {0: 0}, "processed-orders": {0: 0}, "product-metrics": {0: 0}},
        committed={"orders": {}, "processed-orders": {}, "product-metrics": {}},
        members={"processor": 2, "analytics": 1},
        marks=[],
        metrics=[],
        dead_letters=Counter(),
        rejected=0,
        late=0,
        unread=Counter(),
    )
    return quiet._replace(**changes)


def flowing(at_s: float, orders: int, read: int, **changes: Any) -> Observation:
    return observation(
        at_s,
        ends={"orders": {0: orders, 1: 10}, "processed-orders": {0: 3 * read}, "product-metrics": {0: 0}},
        begins={"orders": {0: 0, 1: 4}, "processed-orders": {0: 0}, "product-metrics": {0: 0}},
        committed={"orders": {0: read, 1: 10}, "processed-orders": {0: 3 * read - 1}, "product-metrics": {}},
        **changes,
    )


def test_a_rate_covers_the_last_ten_seconds() -> None:
    rate = Rate()
    assert rate.per_s is None
    rate.add(T0, 0)
    assert rate.per_s is None
    for second in range(1, 31):
        rate.add(T0 + second, 1000 * second if second <= 10 else 10_000 + 50 * (second - 10))
    assert rate.per_s == 50


@pytest.mark.parametrize("step_s", [-3600, -5])
def test_a_rate_is_known_again_soon_after_the_clock_was_set_back(step_s: float) -> None:
    rate = Rate()
    for second in range(30):
        rate.add(T0 + second, 100 * second)
    rate.add(T0 + step_s + 30, 3000)
    assert rate.per_s is None, "it is not known how long this took"
    rate.add(T0 + step_s + 31, 3100)
    assert rate.per_s == 100


def test_a_rate_is_not_negative_when_a_topic_is_recreated() -> None:
    rate = Rate()
    rate.add(T0, 500)
    rate.add(T0 + 1, 0)
    assert rate.per_s == 0


@pytest.mark.parametrize(
    ("committed", "topic", "expected"),
    [
        ({0: 10, 1: 10}, "orders", {0: 0, 1: 0}),
        ({0: 9, 1: 8}, "orders", {0: 1, 1: 2}),
        ({0: 9, 1: 8}, "processed-orders", {0: 0, 1: 2}),  # the single one is the end of a transaction
        ({0: 10}, "orders", {0: 0, 1: 6}),  # nothing committed yet: all from the beginning
        ({0: 10, 1: 2}, "orders", {0: 0, 1: 6}),  # what it has not read was deleted in the meantime
        ({0: 12, 1: 10}, "orders", {0: 0, 1: 0}),
    ],
)
def test_lag_counts_unread_records(committed: dict[int, int], topic: str, expected: dict[int, int]) -> None:
    seen = observation(begins={topic: {0: 0, 1: 4}}, ends={topic: {0: 10, 1: 10}}, committed={topic: committed})
    assert lags_of(seen, topic) == expected


def test_rates_are_computed_from_two_observations() -> None:
    state = State(60)
    assert state.waiting_for
    state.apply(flowing(T0, 100, 80))
    assert not state.waiting_for
    assert state.orders == 106
    assert state.orders_rate.per_s is None
    assert state.lags == {"processor": 20, "analytics": 0, "sink": 0}
    assert state.behind_s("processor") is None
    state.apply(flowing(T0 + 2, 200, 160, dead_letters=Counter(malformed=14), rejected=10))
    assert state.orders_rate.per_s == 50
    assert state.accepted_rate.per_s == 35  # 80 read, 10 of them rejected, in two seconds
    assert state.behind_s("processor") == 1.0
    assert state.behind_s("sink") == 0.0


def test_the_number_of_reasons_is_bounded() -> None:
    """Any program may write dead letters, each with a reason of its own, and each page gets all reasons every second."""
    state = State(60)
    state.apply(observation(dead_letters=Counter(malformed=2)))
    for number in range(10):
        state.apply(observation(dead_letters=Counter(f"{number}-{each}" for each in range(20))))
    state.apply(observation(dead_letters=Counter(malformed=3)))
    assert len(state.dead_letters) <= 51
    assert state.dead_letters["malformed"] == 5
    assert state.dead_letters["other"] == 151
    assert state.dead_letters.total() == 205


def test_dead_letters_late_orders_and_metrics_are_collected() -> None:
    state = State(60)
    metric = Metric(60, 120, "prod-1", 2, 3.0, 1.5)
    for _ in range(2):
        state.apply(observation(dead_letters=Counter(malformed=1), late=3, metrics=[metric]))
    assert state.dead_letters == {"malformed": 2}
    assert (state.late, state.metrics_count, state.windows) == (6, 2, {(60, 120): {"prod-1": metric}})


def closing(committed: dict[int, int], ends: dict[int, int], *minutes: int, **changes: Any) -> Observation:
    """The analytics' offsets in two partitions, and a metric of each of these minutes."""
    quiet = observation()
    return quiet._replace(
        begins={**quiet.begins, "processed-orders": {0: 0, 1: 0}},
        ends={**quiet.ends, "processed-orders": ends},
        committed={**quiet.committed, "processed-orders": committed},
        metrics=[Metric(60 * minute, 60 * minute + 60, "a", 1, 1.0, 1.0) for minute in minutes],
        **changes,
    )


def whole(state: State) -> list[int]:
    return [window[0] // 60 for window in state.windows if state.is_whole(window)]


def test_a_window_is_whole_when_no_partition_of_the_analytics_lags_behind_its_close() -> None:
    state = State(60)
    state.apply(closing({0: 99, 1: 49}, {0: 100, 1: 50}, 1))
    assert whole(state) == [1]
    state.apply(closing({0: 199, 1: 49}, {0: 200, 1: 90}, 2))
    assert whole(state) == [1]
    state.apply(closing({0: 299, 1: 60}, {0: 300, 1: 140}, 3))
    assert whole(state) == [1]
    state.apply(closing({0: 299, 1: 89}, {0: 300, 1: 160}))  # as far as it was when the second window was closed
    assert whole(state) == [1, 2]
    state.apply(closing({0: 299, 1: 159}, {0: 300, 1: 160}))
    assert whole(state) == [1, 2, 3]


def test_windows_become_whole_while_orders_keep_coming() -> None:
    """A look reads the ends after the committed offsets, so a busy pipeline always has some lag."""
    state = State(60)
    for second in range(10):
        at = 1000 * second
        state.apply(closing({0: at, 1: at}, {0: at + 500, 1: at + 500}, second))
        assert whole(state) == [*range(second)]


def test_windows_from_before_the_start_are_whole_once_the_analytics_has_caught_up() -> None:
    state = State(60)
    state.apply(closing({0: 500}, {0: 600, 1: 300}, *range(30)))
    assert whole(state) == []
    state.apply(closing({0: 700, 1: 310}, {0: 800, 1: 400}))
    assert whole(state) == [*range(30)]


def test_a_window_whose_metrics_are_not_all_read_is_not_whole() -> None:
    state = State(60)
    state.apply(closing({0: 10, 1: 10}, {0: 10, 1: 10}, 1, all_metrics_read=False))
    assert whole(state) == []
    state.apply(closing({0: 10, 1: 10}, {0: 10, 1: 10}, 1))
    assert whole(state) == [1]


def test_the_newest_windows_are_kept_for_any_reading_order() -> None:
    state = State(60)
    for product in "ab":
        state.apply(observation(metrics=[Metric(60 * n, 60 * n + 60, product, 1, 1.0, 1.0) for n in range(100)]))
    assert list(state.windows) == [(60 * n, 60 * n + 60) for n in range(40, 100)]
    assert all(set(products) == {"a", "b"} for products in state.windows.values())


def test_a_group_is_not_stalled_by_the_first_record_after_a_quiet_time() -> None:
    """The sink commits within a second of each window's metrics, and a look may come between."""
    state = State(60)
    for second in range(60):
        state.apply(observation(T0 + second, members={"sink": 1}))
    for second, keeps_up in ((60, True), (64, True), (65, False)):
        ends = {**observation().ends, "product-metrics": {0: 10}}
        state.apply(observation(T0 + second, ends=ends, members={"sink": 1}))
        assert state.keeps_up("sink") is keeps_up
        assert time_behind(state, "sink") == ("…" if keeps_up else "stalled")


def test_a_group_with_a_member_that_is_a_few_seconds_behind_keeps_up() -> None:
    state = State(60)
    assert state.seen_at_s is None
    state.apply(flowing(T0, 100, 90))
    assert [state.keeps_up(group) for group in ("processor", "sink")] == [None, True]  # no rate from one observation
    state.apply(flowing(T0 + 1, 110, 100))
    assert state.seen_at_s == T0 + 1
    assert [state.keeps_up(group) for group in ("processor", "analytics", "sink")] == [True, True, True]
    state.apply(flowing(T0 + 2, 300, 101, members={"processor": 2, "analytics": 0}))
    assert [state.keeps_up(group) for group in ("processor", "analytics", "sink")] == [False, False, True]


def test_the_accepted_rate_is_unknown_while_dead_letters_are_unread() -> None:
    state = State(60)
    state.apply(flowing(T0, 100, 80, rejected=5))
    state.apply(
        flowing(T0 + 1, 200, 160, dead_letters=Counter(malformed=40), rejected=None, unread=Counter({"orders-dlq": 9}))
    )
    assert state.accepted_rate.per_s is None
    state.apply(flowing(T0 + 2, 300, 240))
    assert state.accepted_rate.per_s is None
    state.apply(flowing(T0 + 3, 400, 320, rejected=30))
    assert state.accepted_rate.per_s == 50
    assert state.unread == {"orders-dlq": 9}


def test_event_time_is_that_of_the_slowest_source_once_all_are_known() -> None:
    state = State(60)
    assert state.watermark_s is None
    state.apply(observation(marks=[Watermark((0,), 2, 130.0)]))
    assert state.watermark_s is None
    assert state.next_close_s is None
    assert state.silent_sources == [1]
    state.apply(observation(marks=[Watermark((1,), 2, 121.0), Watermark((0,), 2, 90.0)]))
    assert state.watermark_s == 121.0
    assert state.next_close_s == 180


def test_the_next_closing_time_is_estimated_from_the_rate_of_event_time() -> None:
    state = State(60)
    state.apply(observation(T0, marks=[Watermark((0,), 1, 100.0)]))
    assert state.closes_in_s(T0) is None
    state.apply(observation(T0 + 2, marks=[Watermark((0,), 1, 100.0)]))
    assert state.closes_in_s(T0 + 2) is None  # it does not advance
    state.apply(observation(T0 + 4, marks=[Watermark((0,), 1, 108.0)]))
    assert state.closes_in_s(T0 + 4) == 6.0  # 12 s left, at two seconds a second


def test_no_window_is_expected_to_close_before_its_end() -> None:
    """A watermark that jumps to the clock has a high rate, which does not last."""
    state = State(60)
    state.apply(observation(T0, marks=[Watermark((0,), 1, T0 - 30)]))
    state.apply(observation(T0 + 2, marks=[Watermark((0,), 1, T0 - 3)]))
    assert state.next_close_s == T0 + 40
    assert state.closes_in_s(T0 + 2) == 38
    assert state.closes_in_s(T0 + 12) == 28


def test_of_orders_ahead_of_the_clock_a_window_closes_before_the_clock_is_at_its_end() -> None:
    state = State(60)
    state.apply(observation(T0, marks=[Watermark((0,), 1, T0 + 20)]))
    state.apply(observation(T0 + 2, marks=[Watermark((0,), 1, T0 + 22)]))
    assert state.closes_in_s(T0 + 2) == 18


def test_a_metric_is_decoded() -> None:
    value = b'{"window_start":0,"window_end":60,"product_id":"p","order_count":1,"total_revenue":2,"avg_order_value":2,"x":1}'
    assert decode_metric(value) == Metric(0, 60, "p", 1, 2, 2)


def test_a_metric_above_the_maximum_of_one_order_is_decoded() -> None:
    value = encode_metric(ProductMetric(0, 60, "p", 3, 2 * MAX_CENTS + 1))
    assert decode_metric(value) == Metric(0, 60, "p", 3, 200_000_000_000.01, 66_666_666_666.67)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"window_start":60,"window_end":60,"product_id":"p","order_count":1,"total_revenue":2,"avg_order_value":2}',
        b'{"window_start":0,"window_end":1e9,"product_id":"p","order_count":1,"total_revenue":2,"avg_order_value":2}',
        b'{"window_start":0,"window_end":60,"product_id":7,"order_count":1,"total_revenue":2,"avg_order_value":2}',
        b'{"window_start":0,"window_end":60,"product_id":"p","order_count":0,"total_revenue":2,"avg_order_value":2}',
        b'{"window_start":0,"window_end":60,"product_id":"p","order_count":1,"total_revenue":"2","avg_order_value":2}',
        b'{"window_start":0,"window_end":60,"product_id":"p","order_count":1,"total_revenue":0.001,"avg_order_value":2}',
    ],
)
def test_invalid_metrics_are_skipped(value: bytes | None) -> None:
    assert decode_metric(value) is None


IDLE = {"members": {"processor": 2, "analytics": 1, "sink": 1}}


def idle_after(*looks: Observation) -> State:
    """A pipeline whose event time has stopped at T0 + 300."""
    state = State(60)
    for seconds in range(12):
        state.apply(flowing(T0 + 400 + seconds, 100, 100, marks=[Watermark((0,), 1, T0 + 300)], **IDLE))
    for look in looks:
        state.apply(look)
    return state


def test_without_orders_the_pipeline_is_idle_when_all_is_read_and_closed() -> None:
    assert idle_after().is_idle


def test_a_pipeline_with_incoming_orders_is_not_idle() -> None:
    assert not idle_after(flowing(T0 + 412, 101, 100, **IDLE)).is_idle
    assert not idle_after(flowing(T0 + 412, 101, 101, **IDLE)).is_idle


def test_a_pipeline_that_reads_nothing_is_stuck_and_not_idle() -> None:
    assert not idle_after(*(flowing(T0 + 420 + each, 101, 100, **IDLE) for each in range(20))).is_idle


def test_event_time_that_stops_before_the_end_of_the_last_window_is_stuck() -> None:
    seen = [flowing(T0 + 412, 101, 100, **IDLE), *(flowing(T0 + 420 + each, 101, 101, **IDLE) for each in range(20))]
    assert not idle_after(*seen).is_idle


@pytest.mark.parametrize("topic", ["orders", "processed-orders"])
def test_a_pipeline_with_records_behind_an_open_transaction_is_not_idle(topic: str) -> None:
    """Also for a viewer that has just started, and has seen no order arrive."""
    state = idle_after(flowing(T0 + 412, 100, 100, blocked={topic: 5}, **IDLE))
    assert state.last_order_s is None
    assert not state.is_idle
    state.apply(flowing(T0 + 413, 100, 100, blocked={topic: 0}, **IDLE))
    assert state.is_idle


def test_without_a_processor_nothing_is_idle() -> None:
    assert not idle_after(flowing(T0 + 412, 100, 100, members={"processor": 0})).is_idle


def test_a_pipeline_whose_event_time_still_advances_is_not_idle() -> None:
    assert not idle_after(flowing(T0 + 412, 100, 100, marks=[Watermark((0,), 1, T0 + 301)], **IDLE)).is_idle
