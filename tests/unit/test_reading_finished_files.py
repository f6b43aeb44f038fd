"""The metrics file is rotated during a read: after the reader has opened it, and before it lists the finished files."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metrics_report.file_source import from_file
from metrics_report.skipped import Skipped
from metrics_report.summary import Selection
from services.sink.file.convert import convert
from services.sink.file.disk import Disk
from services.sink.file.finished_files import finished_files
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


def replace_by_copies(folder: Path) -> None:
    """Convert all finished files, and remove the originals, as the sink does a minute later."""
    for file in [each for each in finished_files(path_in(folder)) if not each.is_converted]:
        convert(file.path, file.path.with_name(f"{file.path.name}.gz"), Disk())
        file.path.unlink()


@pytest.mark.parametrize("reader", ["report", "verification"])
def test_a_reader_sees_each_metric_once_although_the_file_is_converted_while_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    copy(tmp_path, topic_of(7), Disk(), BY_DAY)
    replace_by_copies(tmp_path)
    opening = gzip.open

    def convert_then_open(path: Path) -> object:
        replace_by_copies(tmp_path)
        return opening(path)

    monkeypatch.setattr(gzip, "open", convert_then_open)
    finish_while_read(tmp_path, monkeypatch)()
    if reader == "report":
        seen = Counter(map(tuple, from_file(path_in(tmp_path), Selection(), Skipped())))
    else:
        seen = Counter(map(tuple, read_lines(path_in(tmp_path), WINDOW_S).elements()))
    assert seen.total() == len(seen) == 12
