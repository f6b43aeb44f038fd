"""SINK_ROTATE: valid values, and when a file is rotated."""

import pytest

from services.sink.file.finished_files import Span
from services.sink.file.rotate_setting import DAY_S, Rotate, parse_rotate

BY_DAY = Rotate(by_day=True)


@pytest.mark.parametrize(
    ("text", "rotate"),
    [
        ("day", BY_DAY),
        (" DAY ", BY_DAY),
        ("1KB", Rotate(size_bytes=1000)),
        ("100mb", Rotate(size_bytes=10**8)),
        ("2 GB", Rotate(size_bytes=2 * 10**9)),
    ],
)
def test_valid_settings(text: str, rotate: Rotate) -> None:
    assert parse_rotate(text) == rotate


@pytest.mark.parametrize("text", ["", "week", "100", "0MB", "1.5GB", "-1MB", "1TB", "MB", "9999999999MB", "1MB day"])
def test_invalid_settings(text: str) -> None:
    with pytest.raises(ValueError, match="neither day nor a size"):
        parse_rotate(text)


@pytest.mark.parametrize(
    ("length", "more", "due"), [(0, 2000, False), (900, 100, False), (901, 100, True), (5000, 0, False)]
)
def test_rotation_by_size(length: int, more: int, due: bool) -> None:
    assert Rotate(size_bytes=1000).is_due(length, None, more, None) == due


@pytest.mark.parametrize(
    ("last_s", "more_s", "due"),
    [
        (DAY_S - 60, DAY_S, True),
        (DAY_S, 2 * DAY_S - 1, False),
        (DAY_S, DAY_S - 60, False),
        (None, DAY_S, False),
        (0, None, False),
    ],
)
def test_rotation_by_day(last_s: int | None, more_s: int | None, due: bool) -> None:
    span, more = (None if each is None else Span(each, each) for each in (last_s, more_s))
    assert BY_DAY.is_due(100, span, 100, more) == due
