import json
from collections import Counter
from typing import Any

import orjson

from libs.events.watermarks import Watermark
from live.snapshot import sales, snapshot, snapshot_json
from tests.unit.test_watch_state import T0, flowing, observation
from watch.observation import Metric
from watch.state import State


def metric(minute: int, product: str, orders: int, revenue: float) -> Metric:
    return Metric(60 * minute, 60 * minute + 60, product, orders, revenue, 0.0)


def of(*metrics: Metric) -> dict[str, Any]:
    state = State(60)
    state.apply(observation(metrics=list(metrics)))
    content: dict[str, Any] = orjson.loads(orjson.dumps(sales(state)))
    return content


def test_nothing_is_known_before_the_first_observation() -> None:
    content = orjson.loads(orjson.dumps(snapshot(State(60), T0)))
    assert content["age_s"] is None
    assert content["waiting_for"] == "the broker"
    assert content["stages"] == {}
    assert content["sales"] == {"products": [], "others": 0, "windows": []}


def test_sums_may_have_more_than_64_bits() -> None:
    state = State(60)
    state.apply(observation(metrics=[metric(1, f"prod-{number}", 2**63 - 1, 1e15) for number in range(3)]))
    content = json.loads(snapshot_json(state, T0))
    assert content["sales"]["windows"][0]["all"][0] == 3 * (2**63 - 1)
    assert snapshot_json(state, T0).count(b"\n") == 0


def test_it_has_the_same_content_as_the_terminal_view() -> None:
    state = State(60)
    state.apply(flowing(T0, 100, 80, marks=[Watermark((0,), 1, T0 - 9)]))
    state.apply(
        flowing(
            T0 + 2,
            200,
            160,
            marks=[Watermark((0,), 1, T0 - 5)],
            dead_letters=Counter(malformed=3, unknown_product=9),
            rejected=12,
            late=7,
            unread=Counter({"orders-dlq": 5}),
            members={"processor": 2, "analytics": 0},
        )
    )
    content = orjson.loads(orjson.dumps(snapshot(state, T0 + 3)))
    assert content["age_s"] == 1
    assert content["orders"] == {"count": 206, "written": 210, "per_s": 50}
    assert content["accepted"] == {"per_s": 34}
    assert content["stages"] == {
        "processor": {"lag": 40, "blocked": 0, "behind_s": 1.0, "keeps_up": True, "members": 2},
        "analytics": {"lag": 0, "blocked": 0, "behind_s": 0, "keeps_up": False, "members": 0},
        "sink": {"lag": 0, "blocked": 0, "behind_s": 0, "keeps_up": True, "members": None},
    }
    assert content["event_time"] == {
        "watermark_s": T0 - 5,
        "partitions": 1,
        "silent_partitions": [],
        "next_close_s": T0 + 40,
        "closes_in_s": 37.0,
        "idle": False,
    }
    assert content["dead_letters"] == {"count": 12, "uncounted": 5, "reasons": {"unknown_product": 9, "malformed": 3}}
    assert content["late_orders"] == {"count": 7, "uncounted": 0}


def test_sales_are_by_window_and_product_in_exact_cents() -> None:
    content = of(metric(2, "b", 3, 0.3), metric(1, "a", 1, 0.1), metric(1, "b", 2, 0.25), metric(2, "c", 1, 0.7))
    assert content["products"] == ["a", "b", "c"]
    assert content["others"] == 0
    assert content["windows"] == [
        {"start_s": 60, "end_s": 120, "whole": True, "all": [3, 35, 12], "each": [[1, 10, 10], [2, 25, 12], [0, 0, 0]]},
        {
            "start_s": 120,
            "end_s": 180,
            "whole": True,
            "all": [4, 100, 25],
            "each": [[0, 0, 0], [3, 30, 10], [1, 70, 70]],
        },
    ]


def test_all_products_are_listed_if_the_page_can_show_them() -> None:
    assert of(*(metric(1, f"p{number}", 1, 1.0) for number in range(8)))["products"] == [f"p{n}" for n in range(8)]


def test_of_more_products_the_best_sellers_are_listed_and_the_others_summed() -> None:
    content = of(*(metric(minute, f"p{number}", number, float(number)) for minute in (1, 2) for number in range(1, 11)))
    assert content["products"] == sorted(f"p{number}" for number in range(4, 11))
    assert content["others"] == 3
    for window in content["windows"]:
        assert window["all"][:2] == [55, 5500]
        assert window["each"][-1] == [6, 600, 100]
        assert [sum(each[field] for each in window["each"]) for field in (0, 1)] == [55, 5500]


def test_only_the_newest_half_hour_is_included() -> None:
    content = of(*(metric(minute, "a", 1, 1.0) for minute in (1, 40, 69, 70, 99)))
    assert [window["start_s"] // 60 for window in content["windows"]] == [70, 99]


def test_a_partially_read_window_is_marked() -> None:
    state = State(60)
    state.apply(observation(metrics=[metric(1, "a", 1, 1.0), metric(2, "a", 1, 1.0)], cut_until_s=120))
    state.apply(observation(metrics=[metric(1, "b", 1, 1.0), metric(3, "a", 1, 1.0)]))
    content: Any = sales(state)
    assert [window["whole"] for window in content["windows"]] == [False, True, True]


def test_ten_thousand_products_are_ranked_and_older_windows_dropped() -> None:
    state = State(60)
    for minute in range(1, 21):
        state.apply(observation(metrics=[metric(minute, f"p{number}", 1, float(number)) for number in range(10_000)]))
    content: Any = sales(state)
    assert [window["start_s"] // 60 for window in content["windows"]] == [*range(11, 21)]
    assert content["products"] == [f"p{number}" for number in range(9_993, 10_000)]
    assert content["others"] == 9_993
    assert {window["all"][0] for window in content["windows"]} == {10_000}


def test_sales_beyond_the_maximum_of_one_order_are_exact() -> None:
    [window] = of(metric(0, "a", 3, 200_000_000_000.01))["windows"]
    assert window["all"][:2] == [3, 20_000_000_000_001]
