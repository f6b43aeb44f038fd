"""The benchmark's input has the properties in its README, and its expected results follow the contract."""

import json
from collections import defaultdict
from decimal import Decimal

import pytest

from benchmarks.orders import (
    CATALOGUE,
    CLOSING_AFTER_S,
    FAULTS,
    PARTITIONS,
    SPAN_S,
    WINDOW_S,
    Workload,
    make_workload,
    partition_of,
    processed,
)
from libs.events.dead_letters import RejectedError
from services.processor.validation import validate

NOW_S = 1_795_363_777.5
COUNT = 20_000


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload(COUNT, seed=3, now_s=NOW_S)


def test_the_same_seed_gives_the_same_orders(workload: Workload) -> None:
    again, other = make_workload(COUNT, 3, NOW_S), make_workload(COUNT, 4, NOW_S)
    assert again.orders == workload.orders
    assert again.windows == workload.windows
    assert other.orders != workload.orders


def test_orders_are_about_150_bytes_and_spread_evenly(workload: Workload) -> None:
    mean_bytes = sum(len(order.value) for order in workload.orders) / COUNT
    assert 145 <= mean_bytes <= 155
    per_partition = [sum(1 for order in workload.orders if order.partition == number) for number in range(PARTITIONS)]
    assert max(per_partition) - min(per_partition) <= 1


def test_one_per_cent_is_faulty_with_every_kind_of_fault(workload: Workload) -> None:
    assert 0.008 <= 1 - workload.valid / COUNT <= 0.012
    kinds = {number % len(FAULTS) for number in range(COUNT) if not workload.is_valid[number]}
    assert len(kinds) == len(FAULTS)


def test_validation_agrees_with_the_expected_result_for_each_order(workload: Workload) -> None:
    for number, order in enumerate(workload.orders):
        try:
            validate(order.value, frozenset(CATALOGUE), NOW_S)
        except RejectedError:
            assert not workload.is_valid[number]
        else:
            assert workload.is_valid[number]


def test_event_time_spans_twenty_minutes_and_is_out_of_order_by_less_than_five_seconds(workload: Workload) -> None:
    latest_s = dict.fromkeys(range(PARTITIONS), 0.0)
    furthest_behind_s = 0.0
    for number, order in enumerate(workload.orders):
        if workload.is_valid[number]:
            event_s = json.loads(order.value)["timestamp"]
            assert workload.first_s <= event_s < workload.end_s
            furthest_behind_s = max(furthest_behind_s, latest_s[order.partition] - event_s)
            latest_s[order.partition] = max(latest_s[order.partition], event_s)
    assert 4 < furthest_behind_s < 5
    assert len({start for _, start in workload.windows}) == SPAN_S // WINDOW_S


def test_the_expected_metrics_are_the_sums_of_the_orders(workload: Workload) -> None:
    totals: defaultdict[tuple[str, int], list[Decimal]] = defaultdict(list)
    for number, order in enumerate(workload.orders):
        if workload.is_valid[number]:
            fields = json.loads(order.value, parse_float=Decimal)
            window = fields["product_id"], int(fields["timestamp"]) // WINDOW_S * WINDOW_S
            totals[window].append(fields["amount"])
    truth = {window: (len(amounts), int(sum(amounts) * 100)) for window, amounts in totals.items()}
    assert truth == workload.windows


def test_closing_events_reach_every_partition_and_product_and_never_the_future(workload: Workload) -> None:
    orders = [json.loads(item.value) for item in workload.closing]
    assert {item.partition for item in workload.closing} == set(range(PARTITIONS))
    assert {order["product_id"] for order in orders} == CATALOGUE.keys()
    assert {partition_of(order["product_id"].encode()) for order in orders} == set(range(PARTITIONS))
    assert {order["timestamp"] for order in orders} == {workload.end_s + CLOSING_AFTER_S}
    assert workload.end_s + CLOSING_AFTER_S < NOW_S


def test_processed_orders_are_the_valid_ones_with_their_product(workload: Workload) -> None:
    items = processed(workload)
    assert len(items) == workload.valid + len(CATALOGUE)
    for item in items:
        order = json.loads(item.value)
        assert item.key == order["product_id"].encode()
        assert item.partition == partition_of(item.key)
        assert CATALOGUE[order["product_id"]].items() <= order.items()
