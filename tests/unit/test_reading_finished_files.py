"""The metrics file is rotated during a read: after the reader has opened it, and before it lists the finished files."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metrics_report.file_source import from_file
from metrics_report.skipped import Skipped
from metrics_report.summary import Selection
from services.sink.file.disk import Disk
from tests.unit.test_sink_finishing import BY_DAY, WINDOW_S, copy, path_in, topic_of
from verification.output_file import read_lines


def finish_while_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Rotate the file after a reader has opened it, and before it lists the finished files."""
    listing: Callable[[Path], Iterator[Path]] = Path.iterdir

    def finish_then_list(path: Path) -> Iterator[Path]:
        monkeypatch.setattr(Path, "iterdir", listing)
        copy(folder, topic_of(14), Disk(), BY_DAY)
        return listing(path)

    return lambda: monkeypatch.setattr(Path, "iterdir", finish_then_list)


def test_a_reader_between_two_files_sees_each_metric_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(tmp_path, topic_of(5), Disk(), BY_DAY)
    finish_while_read(tmp_path, monkeypatch)()
    seen = Counter(from_file(path_in(tmp_path), Selection(), Skipped()))
    assert seen.total() == len(seen) == 12, "the content of the files when they were listed, and all of the first file"


def test_the_verification_between_two_files_sees_each_metric_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(tmp_path, topic_of(5), Disk(), BY_DAY)
    finish_while_read(tmp_path, monkeypatch)()
    seen = read_lines(path_in(tmp_path), WINDOW_S)
    assert seen.total() == len(seen) == 12
