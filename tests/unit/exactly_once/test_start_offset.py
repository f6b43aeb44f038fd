"""The offset at which a worker starts; tests/integration/test_lost_records.py tests it with a broker."""

import pytest
import structlog
from structlog.testing import capture_logs

from libs.runtime.errors import OutdatedAnswerError
from libs.runtime.exactly_once import start_offset
from libs.runtime.exactly_once.doubt import Doubt
from libs.runtime.exactly_once.start_offset import StartOffset, compare_with_state
from libs.runtime.timing import DOUBTED_FOR_S


def choose(
    start: StartOffset, committed: int | None, first: int, monkeypatch: pytest.MonkeyPatch, *, end: int = 0
) -> tuple[int, str]:
    """The offset, and the log events about it."""
    monkeypatch.setattr(start_offset, "log", structlog.get_logger())
    with capture_logs() as log_events:
        offset = start.choose(committed, first, end)
    return offset, " ".join(line["event"] for line in log_events)


@pytest.mark.parametrize(
    ("committed", "first", "offset", "log_events"),
    [
        (None, 0, 0, ""),
        (None, 30, 30, "nothing is committed, and the topic's oldest records are gone: reading from its first record"),
        (50, 30, 50, ""),
        (50, 50, 50, ""),
        (50, 70, 70, "records were deleted before they were read"),
    ],
)
def test_processing_starts_at_the_committed_offset_if_it_exists(
    committed: int | None, first: int, offset: int, log_events: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose(StartOffset(), committed, first, monkeypatch) == (offset, log_events)


class Time:
    """The time that has passed."""

    passed_s = 0.0

    def __call__(self) -> float:
        return 1000.0 + self.passed_s


def test_a_topic_that_ends_before_the_committed_offset_is_read_from_its_beginning_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = Time()
    start = StartOffset(Doubt(time))
    start.out_of_range()
    for time.passed_s in (0.0, DOUBTED_FOR_S - 0.1):
        with pytest.raises(OutdatedAnswerError, match="ends at 40, before the committed offset 100"):
            start.choose(100, 0, 40)
    time.passed_s = DOUBTED_FOR_S
    log_events = "the topic ends before the committed offset: reading it from its beginning"
    assert choose(start, 100, 0, monkeypatch, end=40) == (0, log_events)
    assert choose(start, 20, 0, monkeypatch) == (20, "")
    start.out_of_range()  # again, much later
    time.passed_s += 10 * DOUBTED_FOR_S
    with pytest.raises(OutdatedAnswerError):
        start.choose(100, 0, 40)


def test_a_broker_that_has_lost_the_leadership_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is before the committed offset, that of its successor is not."""
    start = StartOffset()
    start.out_of_range()
    with pytest.raises(OutdatedAnswerError):
        start.choose(100, 0, 40)
    assert choose(start, 100, 0, monkeypatch, end=120) == (100, "")
    assert not start.is_out_of_range


def test_records_lost_after_the_committed_offset_are_no_reason_to_start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    start = StartOffset()
    start.out_of_range()
    assert choose(start, 100, 0, monkeypatch, end=100) == (100, "")


@pytest.mark.parametrize(
    ("committed", "changelog_records", "log_events"),
    [
        (None, 0, []),
        (0, 0, []),
        (5, 3, []),
        (5, 0, ["the state is gone"]),
        (None, 3, ["the committed offset is gone"]),
    ],
)
def test_offset_and_state_must_exist_together(
    committed: int | None, changelog_records: int, log_events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_offset, "log", structlog.get_logger())
    with capture_logs() as lines:
        compare_with_state(committed, "analytics-state", changelog_records)
    assert [line["event"] for line in lines] == log_events
