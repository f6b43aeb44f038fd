import time
from collections import Counter

import pytest
from rich.console import Console

from libs.events.watermarks import Watermark
from tests.unit.test_watch_state import T0, flowing, observation
from watch.observation import Metric
from watch.plain import metric_line, status_line
from watch.screen import render
from watch.state import State
from watch.wording import clock, duration, per_second, short, short_duration


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def screen(state: State, *, width: int = 80, height: int = 30, now_s: float = T0 + 6) -> str:
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(render(state, "Order pipeline at here:9092", width, height, now_s))
    return capture.get()


def busy() -> State:
    state = State(60)
    state.apply(flowing(T0, 1000, 100, marks=[Watermark((0,), 1, T0 - 5)]))
    state.apply(
        flowing(
            T0 + 2,
            1_000_400,
            300,
            marks=[Watermark((0,), 1, T0 - 3)],
            metrics=[
                Metric(
                    1_699_999_860 + 60 * window, 1_699_999_920 + 60 * window, f"prod-{product}", 1234, 56789.5, 46.02
                )
                for window in (0, 1)
                for product in (1, 2)
            ],
            dead_letters=Counter(malformed=3, unknown_product=9),
            rejected=12,
            late=7,
        )
    )
    return state


def test_the_view_shows_what_it_is_waiting_for() -> None:
    state = State(60)
    assert "waiting for the broker …" in screen(state)
    assert status_line(state, T0) == "22:13:20 waiting for the broker"
    state = busy()
    state.waiting_for = "the broker at here:9092"
    assert "waiting for the broker at here:9092" in screen(state)
    assert "up to 1,000,406" in screen(state)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_screen_shows_each_stage_at_a_glance(width: int) -> None:
    shown = screen(busy(), width=width)
    assert max(map(len, shown.splitlines())) <= width
    for text in (
        "orders",
        "499,700/s",
        "up to 1,000,406",
        "processor",
        "lag 1.0M",
        "2.8 h",
        "processed-orders",
        "94/s",
        "analytics",
        "product-metrics",
        "metrics",
        "sink",
        "22:13:17, 9 s behind the clock",
        "the next window to close ends at 22:14:00, in about 43 s",
        "12 (unknown_product 9, malformed 3)",
        "late orders   7",
        "56,789.50",
    ):
        assert text in shown, text


@pytest.mark.parametrize("width", [40, 60, 79])
def test_a_narrow_screen_has_no_boxes_but_every_name_and_lag(width: int) -> None:
    shown = screen(busy(), width=width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert "│" not in shown
    for line in (
        "orders            499,700/s, ≤ 1,000,406",
        "  processor       lag 1,000,100 (2.8 h)",
        "processed-orders  94/s accepted",
        "  analytics       lag 0",
        "product-metrics   4",
        "  sink            lag 0",
    ):
        assert any(each.startswith(line) for each in lines), line
    assert any(each.split() == ["22:12:00", "prod-1", "1,234", "56,789.50"] for each in lines)
    assert len(lines) <= 30


def test_skipped_records_are_reported() -> None:
    state = busy()
    assert " 4 " in screen(state)
    state.apply(
        flowing(T0 + 3, 1_000_400, 300, unread=Counter({"orders-dlq": 50, "late-orders": 60, "product-metrics": 1}))
    )
    shown = screen(state, width=120)
    assert "at least 12, and up to 50 older ones that were not counted (unknown_product 9, malformed 3)" in shown
    assert "at least 7, and up to 60 older ones that were not counted" in shown
    assert " 4+ " in shown


def test_the_newest_windows_come_first_and_as_many_as_fit() -> None:
    state = busy()
    lines = [line.split() for line in screen(state).splitlines() if "prod-" in line]
    assert [line[:3] for line in lines if len(line) == 6] == [
        ["22:12:00", "22:13:00", "prod-1"],
        ["22:11:00", "22:12:00", "prod-1"],
    ]
    state.apply(observation(metrics=[Metric(0, 60, f"prod-{number}", 1, 1.0, 1.0) for number in range(100)]))
    for height in (30, 50):
        assert len(screen(state, height=height).splitlines()) <= height


def test_text_of_other_programs_has_no_control_characters() -> None:
    state = busy()
    metric = Metric(1_700_000_040, 1_700_000_100, "[/x]a\x1b[2Jb", 1, 1.0, 1.0)
    state.apply(observation(metrics=[metric], dead_letters=Counter({"[/x]\x1b[2J": 1})))
    for shown in (screen(state, width=200), status_line(state, T0) + metric_line(metric, T0)):
        assert r"[/x]a\x1b[2Jb" in shown
        assert r"[/x]\x1b[2J 1" in shown


def test_before_the_first_window_its_closing_time_is_shown() -> None:
    state = State(60)
    state.apply(observation())
    assert "none yet" in screen(state)
    assert "no order has been processed yet" in screen(state)
    assert "the first window closes when every partition's watermark has passed its end" in screen(state, width=120)
    state.apply(observation(marks=[Watermark((0,), 3, T0)]))
    assert "no watermark yet from partition 1, 2 of orders" in screen(state)


def test_without_a_terminal_a_single_line_has_everything() -> None:
    assert status_line(busy(), T0 + 6) == (
        "22:13:26 orders 499,700/s, up to 1,000,406 in all → processor 94/s accepted, lag 1,000,100 (2.8 h) → analytics lag 0"
        " → sink lag 0 | event time 22:13:17, 9 s behind the clock; the next window to close ends at 22:14:00, in about"
        " 43 s | dead letters 12 (unknown_product 9, malformed 3) | late orders 7"
    )
    assert metric_line(next(iter(busy().windows.values()))["prod-1"], T0) == (
        "closed 22:11:00 to 22:12:00 prod-1: 1,234 orders, revenue 56,789.50, average 46.02"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_group_without_a_reader_is_reported() -> None:
    state = busy()
    state.members = {"processor": 0, "analytics": 1}
    assert screen(state).count("no reader") == 1
    assert "lag 1,000,100 (no reader)" in status_line(state, T0)


@pytest.mark.parametrize("width", [60, 80])
def test_a_group_that_reads_nothing_is_reported_once_known(width: int) -> None:
    state = State(60)
    state.apply(flowing(T0, 1000, 100))
    assert "stalled" not in screen(state, width=width)
    state.apply(flowing(T0 + 2, 2000, 100))
    assert screen(state, width=width).count("stalled") == 1
    assert "lag 1,900 (stalled)" in status_line(state, T0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.04, "0.0 s"), (9.9, "9.9 s"), (99, "99 s"), (3540, "59 min"), (86_000, "23.9 h"), (9e6, "104.2 d")],
)
def test_the_delay_fits_beside_a_stage(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


def test_numbers_are_abbreviated() -> None:
    assert [per_second(rate) for rate in (None, 0.0, 0.25, 48.3, 123456.0)] == [
        "…",
        "0/s",
        "0.2/s",
        "48/s",
        "123,456/s",
    ]
    assert [short(count) for count in (0, 9_999, 10_000, 999_949, 999_950)] == ["0", "9,999", "10.0k", "999.9k", "1.0M"]


def test_times_of_another_day_have_a_date() -> None:
    assert clock(T0, T0) == "22:13:20"
    assert clock(T0 - 86_400, T0) == "2023-11-13 22:13:20"


@pytest.mark.parametrize(("committed", "expected"), [({0: 3}, "lag 7"), ({0: 10}, "has every metric")])
def test_the_database_is_shown_as_the_sinks_second_output(committed: dict[int, int], expected: str) -> None:
    state = busy()
    assert "database" not in screen(state)
    assert "database" not in status_line(state, T0)
    ends = {"orders": {0: 0}, "processed-orders": {0: 0}, "product-metrics": {0: 10}}
    state.apply(observation(T0 + 4, ends=ends, by_output={"file": {0: 10}, "database": committed}))
    assert f"| database {expected}" in status_line(state, T0)
    (line,) = [line for line in screen(state).splitlines() if line.startswith("database")]
    assert expected in line
    assert len(screen(state, height=22).splitlines()) <= 22
