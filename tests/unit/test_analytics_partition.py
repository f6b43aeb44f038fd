from dataclasses import replace

import orjson
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from libs.events.dead_letters import read_dead_letter_headers
from libs.events.limits import DECLARED_LIMITS, DerivedLimits
from libs.events.processed_orders import read_processed_order
from libs.events.watermarks import LATEST_TIME_S, Watermark, encode_watermark
from services.analytics.analytics_partition import AnalyticsPartition
from services.analytics.window_metrics import WindowMetrics
from tests.unit.driver import FakeClock, FakeRecord, LogicDriver, order


def processed(product: str, time_s: float, amount: float = 1.0) -> FakeRecord:
    fields = order(product_id=product, timestamp=time_s, amount=amount)
    return FakeRecord(orjson.dumps(fields), product.encode(), (("type", b"order"),), topic="processed-orders")


def processed_with(**fields: object) -> FakeRecord:
    return FakeRecord(orjson.dumps(order(**fields)), b"k", (("type", b"order"),), topic="processed-orders")


def mark(source: int, time_s: float, sources: int = 2) -> FakeRecord:
    value = encode_watermark(Watermark((source,), sources, time_s))
    return FakeRecord(value, None, (("type", b"watermark"),), topic="processed-orders")


def make_driver(limits: DerivedLimits = DECLARED_LIMITS) -> LogicDriver:
    registry = CollectorRegistry()
    metrics = WindowMetrics(registry)
    return LogicDriver(AnalyticsPartition("processed-orders", 3, 60, FakeClock(), metrics, limits), registry=registry)


def test_metrics_are_written_once_when_the_slowest_source_has_passed_the_window() -> None:
    driver = make_driver()
    driver.pipe([processed("a", 0, 10.10), processed("b", 1, 5), processed("a", 59.9, 10.15), processed("a", 60, 7)])
    driver.pipe([mark(0, 1000)])
    assert driver.output.topic("product-metrics") == []
    driver.pipe([mark(1, 60)])
    driver.pipe([mark(1, 61), mark(0, 2000)])
    a, b = sorted(driver.output.values("product-metrics"), key=lambda m: str(m["product_id"]))
    assert a == {
        "window_start": 0,
        "window_end": 60,
        "product_id": "a",
        "order_count": 2,
        "total_revenue": 20.25,
        "avg_order_value": 10.12,  # 10.125, half to even
    }
    assert b["total_revenue"] == 5
    assert driver.committed == {"orders_processed": 4, "windows_closed": 2}
    assert driver.logic.state_size == 1


def test_an_order_for_a_closed_window_goes_to_late_orders() -> None:
    driver = make_driver()
    driver.pipe([mark(0, 60), mark(1, 60), processed("a", 59.9), processed("a", 60)])
    (late,) = driver.output.topic("late-orders")
    assert orjson.loads(late.value or b"")["timestamp"] == 59.9
    assert late.key == b"a"
    assert dict(late.headers) == {"type": b"order", "window.start": b"0", "window.end": b"60"}
    assert driver.committed == {"orders_processed": 1, "late_orders": 1}


def test_a_late_order_keeps_its_sender_s_headers() -> None:
    driver = make_driver()
    order_ = processed("a", 59.9)
    driver.pipe([mark(0, 60), mark(1, 60), replace(order_, headers=(*order_.headers, ("traceparent", b"00-1")))])
    (late,) = driver.output.topic("late-orders")
    assert late.headers[-1] == ("traceparent", b"00-1")
    assert [name for name, _ in late.headers].count("type") == 1


def test_a_hundred_thousand_amounts_add_up_exactly() -> None:
    driver = make_driver()
    driver.pipe([processed("a", 1, 0.1)] * 1000 + [processed("a", 1, 0.7)] * 1000)
    driver.pipe([mark(0, 60), mark(1, 60)])
    assert driver.output.values("product-metrics")[0]["total_revenue"] == 800


def test_state_is_restored_from_the_changelog() -> None:
    driver = make_driver()
    driver.pipe([processed("a", 1, 2.5), mark(0, 100)])
    changelog = driver.output.records["analytics-state", 3]
    again = make_driver()
    again.logic.restore(changelog)
    again.pipe([processed("a", 2, 2.5), mark(1, 60)])
    assert again.output.values("product-metrics")[0]["total_revenue"] == 5
    assert [r.value for r in again.output.records["analytics-state", 3] if r.key == b'[0,60,"a"]'] == [None]


@pytest.mark.parametrize(
    "record",
    [
        FakeRecord(None, None, (("type", b"order"),)),
        FakeRecord(b"{", b"k", (("type", b"order"),)),
        FakeRecord(b"[]", b"k"),
        FakeRecord(b'{"amount": 1, "product_id": "a", "timestamp": "x"}', b"k"),
        FakeRecord(b"{}", None, (("type", b"watermark"),)),
        FakeRecord(encode_watermark(Watermark((2,), 2, 1e12)), None, (("type", b"watermark"),)),
        FakeRecord(encode_watermark(Watermark((0,), 10**9, 1.0)), None, (("type", b"watermark"),)),
        FakeRecord(
            b'{"source":0,"sources":1,"watermark":' + b"[" * 1000 + b"]" * 1000 + b"}", b"k", (("type", b"watermark"),)
        ),
        processed_with(product_id=[]),
        processed_with(product_id=5),
        processed_with(timestamp=1e300),
        processed_with(timestamp=-60),
        processed_with(amount=-1),
        processed_with(amount=0.001),
    ],
)
def test_a_foreign_record_is_a_dead_letter_and_changes_nothing(record: FakeRecord) -> None:
    driver = make_driver()
    driver.pipe([record])
    (dead,) = driver.output.topic("orders-dlq")
    assert dead.value == record.value
    assert dict(dead.headers)["error.reason"] == b"malformed"
    assert driver.logic.watermark_s is None
    assert driver.logic.state_size == 0
    driver.pipe([processed("a", 1, 2.5), mark(0, 60), mark(1, 60)])
    assert [metric["total_revenue"] for metric in driver.output.values("product-metrics")] == [2.5]


def counted(driver: LogicDriver) -> dict[bytes | None, dict[str, int]]:
    """The orders and cents of each window, by the key of its changelog record."""
    changelog = {record.key: record.value for record in driver.output.records["analytics-state", 3]}
    return {key: orjson.loads(value or b"") for key, value in changelog.items() if key != b"watermarks"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        *(
            {"amount": amount}
            for amount in (5, 0.01, 1e11, 8.41, 1e11 + 0.01, 1e308, 0, -0.0, -1, 0.001, 12.345, 0.1 + 0.2)
        ),
        *({"timestamp": time_s} for time_s in (0, 59.999, 60, -0.001, 1e300)),
        *({"product_id": product} for product in ("b", 5, ...)),
    ],
    ids=str,
)
@pytest.mark.parametrize("before", [[], [processed("a", 1, 10)]], ids=["alone", "after another order of its window"])
def test_an_order_is_counted_or_rejected_as_it_is_read(before: list[FakeRecord], fields: dict[str, object]) -> None:
    record = processed_with(**{"product_id": "a", "amount": 2.5, "timestamp": 30.0, **fields})
    driver = make_driver()
    driver.pipe(before)
    already = counted(driver)
    driver.pipe([*before, record])
    try:
        product_id, event_time_s, cents = read_processed_order(record.value)
    except ValueError:
        assert counted(driver).keys() == already.keys()
        assert [letter.value for letter in driver.output.topic("orders-dlq")] == [record.value]
        return
    start_s = int(event_time_s) // 60 * 60
    key = orjson.dumps([start_s, start_s + 60, product_id])
    others = 2 * len(before) if key in already else 0
    assert counted(driver)[key] == {"order_count": others + 1, "revenue_cents": others * 1000 + cents}
    assert driver.output.topic("orders-dlq") == []


@pytest.mark.parametrize(("time_s", "valid"), [(LATEST_TIME_S, True), (LATEST_TIME_S + 0.5, False)])
def test_a_window_past_the_latest_time_takes_valid_orders_only(time_s: float, valid: bool) -> None:
    driver = make_driver()
    driver.pipe([processed("a", LATEST_TIME_S - 1), processed("a", time_s)])
    assert driver.committed["orders_processed"] == 1 + valid
    assert len(driver.output.topic("orders-dlq")) == 1 - valid


def test_the_changelog_has_a_window_s_totals_after_each_transaction() -> None:
    driver = make_driver()
    for number in range(1, 4):
        driver.pipe([processed("a", 1, 2.5), processed("a", 2, 2.5)])
        assert counted(driver) == {b'[0,60,"a"]': {"order_count": 2 * number, "revenue_cents": 500 * number}}


def test_an_order_that_is_too_large_for_the_next_topic_is_a_dead_letter() -> None:
    limits = DerivedLimits(processed_order=2_000, late_order=2_100, dead_letter=3_000)
    driver = make_driver(limits)
    late = replace(processed("a", 59.9), headers=(("type", b"order"), ("baggage", b"x" * 2_050)))
    foreign = FakeRecord(b"?" * 5_000, b"k", (("type", b"order"),), 7, topic="processed-orders")
    with capture_logs() as lines:
        driver.pipe([mark(0, 60), mark(1, 60), late, foreign])
    assert [line["event"] for line in lines] == [
        "order too large for late-orders",
        "foreign record in processed-orders",
    ]
    assert driver.output.topic("late-orders") == []
    first, second = sorted(driver.output.topic("orders-dlq"), key=lambda letter: letter.value is None)
    assert (read_dead_letter_headers(first.headers).reason, first.value) == ("too_large", late.value)
    assert (read_dead_letter_headers(second.headers).reason, second.value) == ("too_large", None)
    assert read_dead_letter_headers(second.headers).offset == 7
    assert driver.committed == {"dead_letters_too_large": 2}
