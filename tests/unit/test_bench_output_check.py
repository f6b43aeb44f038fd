"""The benchmark's check finds lost, duplicated and wrong records."""

import json
from typing import Any

import pytest

from benchmarks.orders import Item, Workload, make_workload, processed
from benchmarks.output_check import Differences, OrdersCheck, WindowsCheck, joined

NOW_S = 1_795_363_777.5
COUNT = 2_000


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload(COUNT, seed=5, now_s=NOW_S)


def differences_of(workload: Workload, good: list[Item], dead: list[Item]) -> dict[str, int]:
    check = OrdersCheck(workload)
    for item in good:
        check.processed(item.value)
    for item in dead:
        check.dead_letter(item.key, item.value)
    return {how: number for how, number in check.differences().counts.items() if number}


def right(workload: Workload) -> tuple[list[Item], list[Item]]:
    return processed(workload), [order for number, order in enumerate(workload.orders) if not workload.is_valid[number]]


def changed(item: Item, **fields: Any) -> Item:
    return item._replace(value=json.dumps({**json.loads(item.value), **fields}).encode())


def test_correct_output_is_exact_in_any_order_and_encoding(workload: Workload) -> None:
    good, dead = right(workload)
    assert differences_of(workload, [changed(item) for item in reversed(good)], dead[::-1]) == {}


def test_without_output_all_orders_are_lost(workload: Workload) -> None:
    assert differences_of(workload, [], []) == {"lost": COUNT}


def test_lost_and_duplicated_orders_are_counted(workload: Workload) -> None:
    good, dead = right(workload)
    assert differences_of(workload, good[2:], dead[1:]) == {"lost": 3}
    assert differences_of(workload, [*good, *good[:4]], [*dead, dead[0]]) == {"duplicated": 5}


@pytest.mark.parametrize(
    "fields",
    [
        {"order_id": "f" * 24 + "00000001"},
        {"user_id": "someone"},
        {"amount": 0.005},
        {"timestamp": 1.0},
        {"product_name": "Lamp"},
        {"category": "None"},
    ],
)
def test_a_changed_field_is_wrong(workload: Workload, fields: dict[str, Any]) -> None:
    good, dead = right(workload)
    number = 1 if "order_id" in fields else 0
    assert workload.is_valid[number]
    assert differences_of(workload, [*good[:number], changed(good[number], **fields), *good[number + 1 :]], dead) == {
        "wrong": 1
    }


def test_a_changed_dead_letter_is_wrong(workload: Workload) -> None:
    good, dead = right(workload)
    assert differences_of(workload, good, [dead[0]._replace(value=dead[0].value + b" "), *dead[1:]]) == {"wrong": 1}


def test_a_record_in_the_wrong_topic_is_wrong(workload: Workload) -> None:
    good, dead = right(workload)
    misplaced = next(order for number, order in enumerate(workload.orders) if workload.is_valid[number])
    assert differences_of(workload, good[1:], [*dead, misplaced]) == {"wrong": 1}


def test_a_record_that_was_never_sent_is_foreign(workload: Workload) -> None:
    good, dead = right(workload)
    foreign = [Item(0, b"", value) for value in (b"{}", b"[]", b"null", b'{"order_id":"xyz"}')]
    assert differences_of(workload, [*good, *foreign], [*dead, Item(0, b"no number", b"")]) == {"foreign": 5}


def metrics(workload: Workload) -> list[dict[str, Any]]:
    return [
        {
            "window_start": start,
            "window_end": start + 60,
            "product_id": product_id,
            "order_count": count,
            "total_revenue": cents / 100,
            "avg_order_value": round(cents / count / 100, 2),
        }
        for (product_id, start), (count, cents) in workload.windows.items()
    ]


def window_differences(workload: Workload, records: list[dict[str, Any]]) -> tuple[dict[str, int], int]:
    check = WindowsCheck(workload)
    for record in records:
        check.metric(json.dumps(record).encode())
    return {how: number for how, number in check.differences().counts.items() if number}, check.missing_orders


def test_metrics_with_float_rounding_errors_are_exact(workload: Workload) -> None:
    records = [{**metric, "total_revenue": metric["total_revenue"] + 2e-8} for metric in metrics(workload)]
    assert window_differences(workload, records) == ({}, 0)


def test_lost_duplicated_and_wrong_windows_are_counted(workload: Workload) -> None:
    records = metrics(workload)
    assert window_differences(workload, records[1:]) == ({"lost": 1}, records[0]["order_count"])
    assert window_differences(workload, [*records, records[0]]) == ({"duplicated": 1}, 0)
    count, dollars = records[0]["order_count"] - 2, records[0]["total_revenue"]
    short = {**records[0], "order_count": count, "avg_order_value": round(dollars / count, 2)}
    assert window_differences(workload, [short, *records[1:]]) == ({"wrong": 1}, 2)
    a_cent_off = {**records[0], "total_revenue": records[0]["total_revenue"] + 0.01}
    assert window_differences(workload, [a_cent_off, *records[1:]]) == ({"wrong": 1}, 0)
    unknown = {**records[0], "product_id": "prod-9"}
    assert window_differences(workload, [*records, unknown]) == ({"foreign": 1}, 0)


@pytest.mark.parametrize("off", [{"avg_order_value": 0.01}, {"window_end": 1}, {"window_end": -60}])
def test_an_inconsistent_metric_is_invalid(workload: Workload, off: dict[str, float]) -> None:
    records = metrics(workload)
    contradictory = {**records[0], **{name: records[0][name] + by for name, by in off.items()}}
    found, _ = window_differences(workload, [contradictory, *records[1:]])
    assert found == {"lost": 1, "foreign": 1}


def test_windows_of_the_closing_events_do_not_count(workload: Workload) -> None:
    check = WindowsCheck(workload)
    closing = {**metrics(workload)[0], "window_start": workload.end_s + 900, "window_end": workload.end_s + 960}
    assert not check.metric(json.dumps(closing).encode())
    assert not check.complete


def test_windows_are_complete_when_each_has_arrived(workload: Workload) -> None:
    check = WindowsCheck(workload)
    for record in metrics(workload):
        assert not check.complete
        assert check.metric(json.dumps(record).encode())
    assert check.complete


def test_differences_as_text() -> None:
    good = Differences({"lost": 0, "duplicated": 0}, "orders")
    bad = Differences({"lost": 1_200, "duplicated": 3}, "orders")
    assert joined([good, good]) == "exact"
    assert joined([bad]) == "1,200 orders lost, 3 orders duplicated"
    assert joined([good, bad, bad]) == "1,200 orders lost, 3 orders duplicated (2 of 3 runs)"
