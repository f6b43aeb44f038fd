import pytest

from libs.runtime.logic import Progress
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


def test_drained_without_a_break_it_follows_the_clock(watermark: SourceWatermark) -> None:
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


def test_the_same_confirmation_again_proves_nothing(watermark: SourceWatermark) -> None:
    watermark.saw_progress(drained(1000.0))
    for _ in range(1000):
        watermark.saw_progress(drained(1000.5))
    assert watermark.value_s is None


@pytest.mark.parametrize(
    "disturbance",
    [
        drained(1006.0, position=8),  # a record was read
        Progress(7, 8, 1006.0, source_started=True),  # a record waits
        Progress(7, None, None, source_started=True),  # nothing known, as after a new assignment
        drained(1005.5 + LONGEST_SILENCE_S + 0.1),  # the broker was away
    ],
)
def test_any_break_starts_the_wait_anew(watermark: SourceWatermark, disturbance: Progress) -> None:
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


def test_before_the_topics_first_record_nothing_is_claimed(watermark: SourceWatermark) -> None:
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


def test_a_clock_that_is_set_back_delays_it_no_longer_than_any_disturbance(watermark: SourceWatermark) -> None:
    for moment_s in half_seconds(5000, 5005):
        watermark.saw_progress(drained(moment_s))
    for moment_s in half_seconds(1000, 1010.5):
        watermark.saw_progress(drained(moment_s))
    assert watermark.value_s == 1010.0 - 5.0
