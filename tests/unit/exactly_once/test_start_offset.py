"""The offset at which a worker starts; tests/integration/test_lost_records.py tests it with a broker."""

import pytest
import structlog
from structlog.testing import capture_logs

from libs.runtime.errors import OutdatedAnswerError
from libs.runtime.exactly_once import start_offset
from libs.runtime.exactly_once.answer_confirmation import AnswerConfirmation
from libs.runtime.exactly_once.start_offset import StartOffset, compare_with_state
from libs.runtime.timing import ANSWER_CONFIRMED_AFTER_S


def choose(start: StartOffset, committed: int | None, first: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The offset, and the log events about it."""
    monkeypatch.setattr(start_offset, "log", structlog.get_logger())
    with capture_logs() as log_events:
        offset = start.choose(committed, first)
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


FROM_THE_BEGINNING = "the topic ends before the committed offset: reading it from its beginning"


def refused(start: StartOffset, position: int, brokers: int) -> None:
    """A broker refuses to read at ``position``, after a start at 50."""
    assert start.choose(50, 0) == 50
    start.committed()
    start.out_of_range(position, brokers)


def test_a_topic_that_ends_before_the_committed_offset_is_read_from_its_beginning_until_there_is_a_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = Time()
    start = StartOffset(AnswerConfirmation(time))
    refused(start, 100, 3)
    for time.passed_s in (0.0, ANSWER_CONFIRMED_AFTER_S - 0.1):
        with pytest.raises(OutdatedAnswerError, match="ends at 40, before the committed offset 100"):
            start.check(100, 0, 40, brokers=3)
    time.passed_s = ANSWER_CONFIRMED_AFTER_S
    start.check(100, 0, 40, brokers=3)
    for _ in range(2):  # an attempt may fail before it commits, for example because of another partition
        assert choose(start, 100, 0, monkeypatch) == (0, FROM_THE_BEGINNING)
        start.check(100, 0, 45, brokers=3)
    start.committed()
    assert choose(start, 100, 0, monkeypatch) == (100, ""), "as many records were read again"
    start.out_of_range(100, 3)  # again, much later
    for _ in range(2):  # two outdated answers with an outage between them confirm nothing
        time.passed_s += 10 * ANSWER_CONFIRMED_AFTER_S
        with pytest.raises(OutdatedAnswerError):
            start.check(100, 0, 40, brokers=3)


@pytest.mark.parametrize("end", [40, 120])
def test_a_single_broker_is_the_leader(end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has by now are new records, with the offsets of those that were processed before."""
    start = StartOffset()
    refused(start, 100, 1)
    start.check(100, 0, end, brokers=1)
    assert choose(start, 100, 0, monkeypatch) == (0, FROM_THE_BEGINNING)


@pytest.mark.parametrize(("position", "brokers"), [(100, 3), (200, 3), (200, 1)])
def test_where_the_topic_goes_on_beyond_the_committed_offset_it_is_read_from_there(
    position: int, brokers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = StartOffset()
    refused(start, position, brokers)
    if brokers > 1:
        with pytest.raises(OutdatedAnswerError):
            start.check(100, 0, 40, brokers)
        brokers = 1  # the others are down now
    monkeypatch.setattr(start_offset, "log", structlog.get_logger())
    with capture_logs() as lines:
        start.check(100, 0, 150, brokers)
    assert [line["event"] for line in lines] == ["a broker has refused to read where the topic goes on"]
    assert choose(start, 100, 0, monkeypatch) == (100, "")
    assert not start.is_unconfirmed


@pytest.mark.parametrize(("position", "brokers"), [(100, 3), (150, 1)])
def test_records_that_retention_has_deleted_are_not_blamed_on_a_broker(
    position: int, brokers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = StartOffset()
    refused(start, position, brokers)
    monkeypatch.setattr(start_offset, "log", structlog.get_logger())
    with capture_logs() as lines:
        start.check(100, 200, 500, brokers)
    assert not lines
    assert choose(start, 100, 200, monkeypatch) == (200, "records were deleted before they were read")
    assert not start.is_unconfirmed


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
