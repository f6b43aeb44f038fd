import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.money import MAX_CENTS
from libs.events.product_metrics import ProductMetric
from libs.events.watermarks import Watermark
from services.analytics.windows import DamagedStateError, EventClock, TumblingWindows

GOOD_TOTALS = b'{"order_count":1,"revenue_cents":1}'

times = st.floats(min_value=0, max_value=4e9, allow_nan=False)


@given(times, st.integers(min_value=1, max_value=86_400))
def test_a_window_includes_its_start_and_excludes_its_end(event_time_s: float, window_s: int) -> None:
    start_s, end_s, _ = TumblingWindows(window_s).key_for("p", event_time_s)
    assert start_s <= event_time_s < end_s
    assert start_s % window_s == 0
    assert end_s - start_s == window_s


def test_event_time_is_that_of_the_slowest_source() -> None:
    clock = EventClock()
    clock.advance(Watermark((0,), 3, 100.0))
    clock.advance(Watermark((1,), 3, 300.0))
    assert clock.now_s == float("-inf")
    clock.advance(Watermark((2,), 3, 200.0))
    assert clock.now_s == 100.0
    clock.advance(Watermark((0,), 3, 250.0))
    assert clock.now_s == 200.0
    clock.advance(Watermark((1, 2), 3, 225.0))
    assert clock.now_s == 225.0
    clock.advance(Watermark((0, 1, 2), 3, 220.0))
    assert clock.now_s == 225.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), times)))
def test_event_time_never_goes_back(marks: list[tuple[int, int, float]]) -> None:
    clock = EventClock()
    before_s = clock.now_s
    for source, sources, watermark_s in marks:
        clock.advance(Watermark((source % sources,), sources, watermark_s))
        assert clock.now_s >= before_s
        before_s = clock.now_s


def test_an_added_source_holds_event_time_back() -> None:
    clock = EventClock()
    clock.advance(Watermark((0,), 1, 100.0))
    clock.advance(Watermark((0,), 2, 200.0))
    assert clock.now_s == 100.0
    clock.advance(Watermark((1,), 2, 150.0))
    assert clock.now_s == 150.0


def test_a_window_closes_when_event_time_reaches_its_end() -> None:
    windows = TumblingWindows(60)
    assert windows.add("a", 59.9, 100)
    assert windows.add("a", 0.0, 250)
    assert windows.add("b", 60.0, 1)
    assert windows.advance(Watermark((0,), 1, 59.999)) == []
    assert windows.advance(Watermark((0,), 1, 60.0)) == [ProductMetric(0, 60, "a", 2, 350)]
    assert not windows.add("a", 59.9, 100)
    assert len(windows) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 600), st.integers(1, 99_999))
        | st.tuples(st.integers(0, 2), st.integers(0, 700)),
        max_size=60,
    ),
    st.integers(0, 60),
)
def test_state_restored_from_the_changelog_continues_with_identical_results(
    steps: list[tuple[str, int, int] | tuple[int, int]], crash_at: int
) -> None:
    def run(windows: TumblingWindows, part: list[tuple[str, int, int] | tuple[int, int]]) -> list[object]:
        seen: list[object] = []
        for step in part:
            if len(step) == 3:
                product, time_s, cents = step
                seen.append(windows.add(product, float(time_s), cents))
            else:
                source, time_s = step
                seen.extend(windows.advance(Watermark((source,), 3, float(time_s))))
        return seen

    straight = TumblingWindows(60)
    expected = run(straight, steps)

    first = TumblingWindows(60)
    before = run(first, steps[:crash_at])
    second = TumblingWindows(60)
    for key, value in first.take_changes(0):
        second.restore(key, value)
    assert before + run(second, steps[crash_at:]) == expected
    assert list(first.take_changes(0))[:-1] == []


@pytest.mark.parametrize("orders", [1, 901, 2_000_000])  # beyond 2**53 and 2**64 cents
def test_any_sum_of_valid_orders_is_restored_exactly(orders: int) -> None:
    first = TumblingWindows(60)
    for _ in range(orders):
        first.add("a", 0.0, MAX_CENTS)
    second = TumblingWindows(60)
    for key, value in first.take_changes(0):
        second.restore(key, value)
    assert second.advance(Watermark((0,), 1, 60.0)) == [ProductMetric(0, 60, "a", orders, orders * MAX_CENTS)]


def test_a_closed_windows_state_becomes_a_tombstone() -> None:
    windows = TumblingWindows(60)
    windows.add("a", 0.0, 1)
    (opened, _) = windows.take_changes(0)
    windows.advance(Watermark((0,), 1, 60.0))
    (closed, _) = windows.take_changes(0)
    assert opened[0] == closed[0]
    assert opened[1] is not None
    assert closed[1] is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b""),
        (b"nonsense", b"{}"),
        (b"watermarks", None),
        (b"watermarks", b"{}"),
        (b"[0,60]", b"{}"),
        (b"[0,60,1]", b"[]"),
        (b"[0,60,1]", GOOD_TOTALS),
        (b'["0","60","a"]', GOOD_TOTALS),
        (b'"abc"', GOOD_TOTALS),
        (b'[0,60,"a"]', b'{"order_count":1e300,"revenue_cents":1}'),
        (b'[0,60,"a"]', b'{"order_count":"1","revenue_cents":1}'),
        (b'[0,60,"a"]', b'{"order_count":1,"revenue_cents":-1}'),
        (b'[0,60,"a"]', b'{"order_count":2,"revenue_cents":1}'),
        (b'[0,60,"a"]', b'{"order_count":1,"revenue_cents":10000000000001}'),
        (b'[0,60,"a"]', b'{"a":' * 100_000),
        (b'[0,60,"a"]', b'{"order_count":18446744073709551615,"revenue_cents":1}'),
        (b"watermarks", b'{"clock":"nan","sources":1,"watermarks":{}}'),
        (b"watermarks", b'{"clock":null,"sources":"1","watermarks":{}}'),
        (b"watermarks", b'{"clock":null,"sources":1000000000,"watermarks":{"0":1}}'),
        (b"watermarks", b'{"clock":null,"sources":1,"watermarks":{"7":1}}'),
        (b"watermarks", b'{"clock":null,"sources":1,"watermarks":{"0":"inf"}}'),
        (b"x" * 100_000, b"{}"),
    ],
)
def test_a_foreign_changelog_record_is_named(key: bytes, value: bytes | None) -> None:
    with pytest.raises(DamagedStateError, match="changelog") as raised:
        TumblingWindows(60).restore(key, value)
    assert len(str(raised.value)) < 1000
