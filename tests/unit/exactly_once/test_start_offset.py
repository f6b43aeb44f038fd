"""The offset at which a worker starts; tests/integration/test_lost_records.py tests it with a broker."""

import pytest
import structlog
from structlog.testing import capture_logs

from libs.runtime.exactly_once import start_offset
from libs.runtime.exactly_once.start_offset import StartOffset, compare_with_state


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


def test_a_topic_that_ends_before_the_committed_offset_is_read_from_its_beginning_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = StartOffset()
    start.out_of_range()
    log_events = "the topic ends before the committed offset: reading it from its beginning"
    assert choose(start, 100, 0, monkeypatch) == (0, log_events)
    assert choose(start, 20, 0, monkeypatch) == (20, "")


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
