"""The scaling benchmark's input matches its expected results."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import orjson
import pytest

from benchmarks.orders import CLOSING_AFTER_S, OUT_OF_ORDER_S
from benchmarks.scaling.workload import (
    STATE_PARTITIONS,
    Backlog,
    Processed,
    StateLoad,
    partition_of,
    spread_products,
)


def windows_of(orders: Iterable[bytes]) -> dict[tuple[str, int], tuple[int, int]]:
    found: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for order in map(orjson.loads, orders):
        found[order["product_id"], int(order["timestamp"] // 60) * 60].append(round(order["amount"] * 100))
    return {window: (len(cents), sum(cents)) for window, cents in found.items()}


@pytest.mark.parametrize("partitions", [6, 12, 24, 48, 200])
def test_products_are_spread_evenly(partitions: int) -> None:
    shares = Counter(partition_of(product, partitions) for product in spread_products(partitions))
    assert len(shares) == partitions
    assert len(set(shares.values())) == 1


def test_a_backlog_covers_all_partitions_and_matches_its_expected_result() -> None:
    backlog = Backlog(5_000)
    items = list(backlog.dealt(12))
    orders, closing = items[:-12], items[-12:]
    assert windows_of(item.value for item in orders) == backlog.truth.windows
    assert Counter(item.partition for item in orders) == Counter(number % 12 for number in range(5_000))
    assert [item.partition for item in closing] == list(range(12))
    assert {orjson.loads(item.value)["timestamp"] for item in closing} == {backlog.truth.end_s + CLOSING_AFTER_S}
    assert len({item.key for item in items}) == 5_012
    assert {orjson.loads(item.value)["product_id"] for item in items} <= orjson.loads(backlog.catalogue()).keys()


def test_no_order_in_a_backlog_is_late() -> None:
    latest_s = 0.0
    for item in Backlog(5_000).dealt(6):
        event_s = orjson.loads(item.value)["timestamp"]
        assert event_s > latest_s - OUT_OF_ORDER_S - 0.001
        latest_s = max(latest_s, event_s)


def marks_and_orders(records: Iterable[Processed]) -> tuple[list[Processed], list[Processed]]:
    every = list(records)
    return [each for each in every if each.key is None], [each for each in every if each.key is not None]


def test_the_filling_orders_open_each_window_once_and_close_none() -> None:
    load = StateLoad(200, 60)
    marks, orders = marks_and_orders(load.filling())
    assert len(orders) == load.windows == 12_000
    assert windows_of(order.value for order in orders) == load.truth.windows
    assert {count for count, _ in load.truth.windows.values()} == {1}
    assert {orjson.loads(mark.value)["watermark"] for mark in marks} == {load.truth.first_s}
    assert len(marks) > STATE_PARTITIONS


def test_further_orders_belong_to_open_windows() -> None:
    load = StateLoad(200, 60)
    _, filling = marks_and_orders(load.filling())
    opened = set(load.truth.windows)
    _, further = marks_and_orders(load.further(3_000))
    assert len(further) == 3_000
    assert set(load.truth.windows) == opened
    assert windows_of(order.value for order in filling + further) == load.truth.windows
    assert all(order.partition == partition_of((order.key or b"").decode(), 6) for order in further)


def test_closing_watermarks_pass_the_last_window_for_every_source_in_every_partition() -> None:
    load = StateLoad(200, 60)
    marks = list(load.closing())
    assert [mark.partition for mark in marks] == list(range(STATE_PARTITIONS))
    assert [orjson.loads(mark.value)["source"] for mark in marks] == [list(range(STATE_PARTITIONS))] * STATE_PARTITIONS
    assert {orjson.loads(mark.value)["watermark"] for mark in marks} == {load.truth.first_s + 3600}
