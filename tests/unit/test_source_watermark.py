import pytest

from libs.runtime.exactly_once.stage import Progress
from services.processor.source_watermark import LONGEST_SILENCE_S, SourceWatermark


@pytest.fixture
def watermark() -> SourceWatermark:
    return SourceWatermark(max_out_of_orderness_s=5.0, idle_after_s=10.0)


def drained(confirmed_at_s: float, position: int = 7) -> Progress:
    return Progress(position, position, confirmed_at_s, source_started=True)


def half_seconds(first_s: float, last_s: float) -> list[float]:
    return [first_s + step / 2 for step in range(int((last_s - first_s) * 2) + 1)]


def test_it_stays_behind_the_latest_event(watermark: SourceWatermark) -> None:
    watermark.saw_event(100.0)
    watermark.saw_event(90.0)
    assert watermark.value_s == 95.0


def test_a_continuously_drained_partition_follows_the_clock(watermark: SourceWatermark) -> None:
    for moment_s in half_seconds(1000, 1010):
        watermark.saw_progress(drained(moment_s))
        assert watermark.value_s is None
    watermark.saw_progress(drained(1010.5))
    assert watermark.value_s == 1010.0 - 5.0  # as of the confirmation before the last
    watermark.saw_progress(drained(1011.0))
    assert watermark.value_s == 1010.5 - 5.0


def test_a_lagging_partition_never_follows_the_clock(watermark: SourceWatermark) -> None:
    for moment_s in half_seconds(1000, 1100):
        watermark.saw_progress(Progress(7, 8, moment_s, source_started=True))
    assert watermark.value_s is None


def test_a_repeated_confirmation_does_not_advance_it(watermark: SourceWatermark) -> None:
    watermark.saw_progress(drained(1000.0))
    for _ in range(1000):
        watermark.saw_progress(drained(1000.5))
    assert watermark.value_s is None


@pytest.mark.parametrize(
    "disturbance",
    [
        Progress(7, 8, 1006.0, source_started=True),  # records are unread for longer than the longest silence
        Progress(7, None, None, source_started=True),  # unknown, as after a new assignment
        drained(1005.5 + LONGEST_SILENCE_S + 0.1),  # the broker was unavailable
    ],
)
def test_any_interruption_restarts_the_wait(watermark: SourceWatermark, disturbance: Progress) -> None:
    for moment_s in half_seconds(1000, 1005.5):
        watermark.saw_progress(drained(moment_s))
    watermark.saw_progress(disturbance)
    position = disturbance.position if disturbance.position == disturbance.end_offset else 8
    for moment_s in half_seconds(1008, 1015.5):
        watermark.saw_progress(drained(moment_s, position))
        assert watermark.value_s is None
    for moment_s in half_seconds(1016, 1020):
        watermark.saw_progress(drained(moment_s, position))
    assert watermark.value_s is not None


def test_an_event_restarts_the_wait(watermark: SourceWatermark) -> None:
    for moment_s in half_seconds(1000, 1005.5):
        watermark.saw_progress(drained(moment_s))
    watermark.saw_event(500.0)
    for moment_s in half_seconds(1006, 1016):
        watermark.saw_progress(drained(moment_s, position=8))
        assert watermark.value_s == 495.0
    watermark.saw_progress(drained(1016.5, position=8))
    assert watermark.value_s == 1016.0 - 5.0


def test_records_without_an_event_do_not_restart_the_wait(watermark: SourceWatermark) -> None:
    """As of a sender whose orders are all invalid: its partition would keep the windows of all products open."""
    for number, moment_s in enumerate(half_seconds(1000, 1010)):
        watermark.saw_progress(Progress(number, number + 1, moment_s, source_started=True))
        assert watermark.value_s is None
        watermark.saw_progress(drained(moment_s, position=number + 1))
    watermark.saw_progress(Progress(21, 22, 1010.5, source_started=True))
    assert watermark.value_s is None
    watermark.saw_progress(drained(1010.5, position=22))
    assert watermark.value_s == 1010.0 - 5.0


def test_before_the_first_record_of_the_topic_there_is_no_watermark(watermark: SourceWatermark) -> None:
    for moment_s in half_seconds(1000, 2000):
        watermark.saw_progress(Progress(0, 0, moment_s, source_started=False))
    for moment_s in half_seconds(2000.5, 2010.5):
        watermark.saw_progress(drained(moment_s, position=0))
        assert watermark.value_s is None
    watermark.saw_progress(drained(2011.0, position=0))
    assert watermark.value_s == 2010.5 - 5.0


def test_it_never_goes_back(watermark: SourceWatermark) -> None:
    watermark.saw_event(2000.0)
    for moment_s in half_seconds(1000, 1020):
        watermark.saw_progress(drained(moment_s))
    assert watermark.value_s == 1995.0


def test_a_clock_that_is_set_back_delays_it_no_longer_than_any_interruption(watermark: SourceWatermark) -> None:
    for moment_s in half_seconds(5000, 5005):
        watermark.saw_progress(drained(moment_s))
    for moment_s in half_seconds(1000, 1010.5):
        watermark.saw_progress(drained(moment_s))
    assert watermark.value_s == 1010.0 - 5.0


def test_events_of_any_age_hold_it_back(watermark: SourceWatermark) -> None:
    for arrived_s in range(100_000, 103_600):
        watermark.saw_event(arrived_s - 86_400.0)
        watermark.saw_arrival(arrived_s)
    assert watermark.value_s == 103_599 - 86_400 - 5.0
    assert watermark.lag_s == 86_400


@pytest.fixture
def bounded() -> SourceWatermark:
    return SourceWatermark(max_out_of_orderness_s=5.0, idle_after_s=10.0, max_event_age_s=60.0)


def test_with_a_bound_it_stays_no_further_behind_arrival(bounded: SourceWatermark) -> None:
    bounded.saw_event(100_000.0 - 86_400)
    bounded.saw_arrival(100_000.0)
    assert bounded.value_s == 100_000.0 - 60
    bounded.saw_event(100_000.5 - 86_400)
    bounded.saw_arrival(100_000.5)
    assert bounded.value_s == 100_000.5 - 60
    assert bounded.lag_s == 86_400  # unchanged: it describes the sender


def test_events_within_the_bound_have_the_same_effect_as_without_it(
    bounded: SourceWatermark, watermark: SourceWatermark
) -> None:
    for each in (bounded, watermark):
        for arrived_s, age_s in ((1000.0, 3.0), (1001.0, 59.0), (1040.0, 40.0), (1041.0, 0.0)):
            each.saw_event(arrived_s - age_s)
            each.saw_arrival(arrived_s)
    assert bounded.value_s == watermark.value_s == 1036.0


def test_an_order_within_the_bound_is_never_behind_the_watermark_of_those_before_it(bounded: SourceWatermark) -> None:
    """The bound makes no order late that is within it."""
    bounded.saw_event(1000.0 - 86_400)
    for arrived_s in half_seconds(1000, 1100):
        assert bounded.value_s is None or bounded.value_s <= arrived_s - 60.0
        bounded.saw_arrival(arrived_s)


def test_a_backlog_that_is_read_late_is_bounded_by_its_arrival(bounded: SourceWatermark) -> None:
    bounded.saw_event(995.0)
    bounded.saw_arrival(1000.0)
    for moment_s in half_seconds(90_000, 90_100):
        bounded.saw_progress(Progress(7, 8, moment_s, source_started=True))
    assert bounded.value_s == 990.0


def test_invalid_records_alone_do_not_hold_it_back(bounded: SourceWatermark, watermark: SourceWatermark) -> None:
    for each in (bounded, watermark):
        each.saw_arrival(1000.0)
    assert bounded.value_s == 940.0
    assert watermark.value_s is None
    assert bounded.lag_s is watermark.lag_s is None


def test_the_broker_s_clock_may_be_set_back(bounded: SourceWatermark) -> None:
    bounded.saw_arrival(1000.0)
    bounded.saw_arrival(400.0)
    assert bounded.value_s == 940.0


def test_once_drained_it_follows_the_clock_without_lag(bounded: SourceWatermark) -> None:
    bounded.saw_event(1000.0 - 86_400)
    bounded.saw_arrival(1000.0)
    for moment_s in half_seconds(1000, 1010.5):
        bounded.saw_progress(drained(moment_s))
    assert bounded.value_s == 1010.0 - 5.0
    assert bounded.lag_s == 0.0
    bounded.saw_event(1020.0 - 86_400)
    bounded.saw_arrival(1020.0)
    assert bounded.value_s == 1010.0 - 5.0
    assert bounded.lag_s == 10.0  # it delays windows again from here on
