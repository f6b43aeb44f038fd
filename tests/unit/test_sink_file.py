"""The metrics file while the sink runs: changes by users, disk errors, and exclusive writing."""

import fcntl
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from libs.runtime.errors import PipelineError
from services.sink.file import metrics_file
from services.sink.file.metrics_file import MetricsFile
from services.sink.metrics_writer import OutputChangedError, OutputUnavailableError, WriterDisplacedError
from services.sink.record_batcher import Position
from tests.unit.sink_disks import FullDisk

FIRST, SECOND = b'{"n":1}', b'{"n":2}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output" / "metrics.json"


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk(room=None)


@pytest.fixture
def writer(path: Path, disk: FullDisk) -> Iterator[MetricsFile]:
    """A writer that has written one line."""
    writer = MetricsFile(path, "product-metrics", disk)
    assert writer.acquire()
    assert writer.open("cluster") == {}
    writer.write([FIRST], {0: Position(1, 9)})
    yield writer
    writer.close()


def old_files(path: Path) -> list[str]:
    return sorted(old.name for old in path.parent.glob("*.old"))


def test_it_continues_where_it_stopped(writer: MetricsFile, path: Path) -> None:
    assert writer.open("cluster") == {0: Position(1, 9)}
    writer.write([SECOND], {1: Position(7, 9)})
    assert writer.open("cluster") == {0: Position(1, 9), 1: Position(7, 9)}
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n'


def test_offsets_advance_without_lines(writer: MetricsFile) -> None:
    writer.write([], {0: Position(5, 9)})
    assert writer.open("cluster") == {0: Position(5, 9)}


def test_an_empty_batch_writes_nothing(writer: MetricsFile, path: Path) -> None:
    before = path.with_name("metrics.json.checkpoint").stat()
    writer.write([], {})
    assert path.with_name("metrics.json.checkpoint").stat().st_ino == before.st_ino


def test_a_deleted_file_is_detected_and_recreated(writer: MetricsFile, path: Path) -> None:
    path.unlink()
    with pytest.raises(OutputChangedError, match="deleted"):
        writer.write([], {})
    assert writer.open("cluster") == {}
    assert path.read_bytes() == b""
    assert old_files(path) == []


def test_a_foreign_file_at_the_path_is_put_aside(writer: MetricsFile, path: Path) -> None:
    path.unlink()
    path.write_bytes(b"mine, and longer than what was written\n")
    with pytest.raises(OutputChangedError, match="replaced"):
        writer.write([SECOND], {0: Position(2, 9)})
    assert writer.open("cluster") == {}
    assert path.with_name("metrics.json.1.old").read_bytes() == b"mine, and longer than what was written\n"


@pytest.mark.parametrize("content", [b"", b'{"n":', b'{"n":1}\n{"m":0}\n'])
def test_a_file_changed_in_place_is_detected(writer: MetricsFile, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(OutputChangedError, match="bytes"):
        writer.write([SECOND], {0: Position(2, 9)})
    assert b"n" not in content or writer.open("cluster") in ({}, {0: Position(1, 9)})


def test_lines_appended_by_others_are_truncated(writer: MetricsFile, path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"graffiti\n")
    with pytest.raises(OutputChangedError):
        writer.write([], {})
    assert writer.open("cluster") == {0: Position(1, 9)}
    assert path.read_bytes() == FIRST + b"\n"


@pytest.mark.parametrize("noticed", ["at the next start", "by its length before"])
def test_a_changed_byte_is_detected_when_opening(writer: MetricsFile, path: Path, noticed: str) -> None:
    if noticed == "at the next start":
        path.write_bytes(b'{"n":9}\n')
        writer.close()
        writer = MetricsFile(path, "product-metrics")
        assert writer.acquire()
    else:
        path.write_bytes(b'{"n":9}\n{"n":2}\n')
        with pytest.raises(OutputChangedError, match="bytes"):
            writer.write([], {})
    assert writer.open("cluster") == {}
    assert old_files(path) == ["metrics.json.1.old"]
    writer.close()


@pytest.mark.parametrize("room", [None, 0, 3, len(SECOND) + 1 + 3])
def test_a_file_that_stayed_open_is_not_read_again(
    writer: MetricsFile, path: Path, disk: FullDisk, room: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have gigabytes. It also stays open over a disk that is full: for the lines, or for the checkpoint."""

    def read(_: Path, length: int) -> int:
        raise AssertionError(f"{length} bytes are read")

    monkeypatch.setattr(metrics_file, "crc_of_first", read)
    assert writer.open("cluster") == {0: Position(1, 9)}
    disk.room = room
    with pytest.raises(OutputUnavailableError) if room is not None else nullcontext():
        writer.write([SECOND], {0: Position(2, 9)})
    disk.room = None
    if writer.open("cluster") == {0: Position(1, 9)}:
        writer.write([SECOND], {0: Position(2, 9)})
    assert writer.open("cluster") == {0: Position(2, 9)}
    assert path.read_bytes() == FIRST + b"\n" + SECOND + b"\n"


def test_deletion_of_all_files_in_the_folder_is_detected(writer: MetricsFile, path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(WriterDisplacedError):
        writer.write([SECOND], {0: Position(2, 9)})
    assert writer.acquire()
    assert writer.open("cluster") == {}


def test_deletion_of_the_folder_is_detected(writer: MetricsFile, path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    with pytest.raises(WriterDisplacedError):
        writer.write([], {})
    assert writer.acquire()
    assert writer.open("cluster") == {}


@pytest.mark.parametrize(
    ("cluster", "topic"), [("another", "product-metrics"), ("cluster", "another"), ("another", "another")]
)
def test_the_file_of_another_cluster_or_topic_is_put_aside(
    writer: MetricsFile, path: Path, cluster: str, topic: str
) -> None:
    writer.close()
    other = MetricsFile(path, topic)
    assert other.acquire()
    assert other.open(cluster) == {}
    other.close()
    assert path.read_bytes() == b""
    assert path.with_name("metrics.json.1.old").read_bytes() == FIRST + b"\n"


def test_files_that_were_put_aside_are_never_overwritten(writer: MetricsFile, path: Path) -> None:
    writer.start_over("first reason")
    writer.write([SECOND], {0: Position(1, 9)})
    writer.start_over("second reason")
    assert path.with_name("metrics.json.1.old").read_bytes() == FIRST + b"\n"
    assert path.with_name("metrics.json.2.old").read_bytes() == SECOND + b"\n"
    assert writer.open("cluster") == {}


def test_a_file_without_checkpoint_is_put_aside(writer: MetricsFile, path: Path) -> None:
    path.with_name("metrics.json.checkpoint").unlink()
    assert writer.open("cluster") == {}
    assert old_files(path) == ["metrics.json.1.old"]


@pytest.mark.parametrize("room", range(130))
def test_a_full_disk_loses_nothing_and_leaves_no_incomplete_line(
    writer: MetricsFile, path: Path, disk: FullDisk, room: int
) -> None:
    disk.room = room
    with pytest.raises(OutputUnavailableError, match="no space left"):
        writer.write([SECOND], {0: Position(2, 9)})
    assert path.read_bytes() in (FIRST + b"\n", FIRST + b"\n" + SECOND + b"\n")
    disk.room = None
    assert writer.open("cluster") == {0: Position(1, 9)}
    assert path.read_bytes() == FIRST + b"\n"
    writer.write([SECOND], {0: Position(2, 9)})
    assert path.read_bytes() == FIRST + b"\n" + SECOND + b"\n"


def test_only_one_writer_gets_the_lock(writer: MetricsFile, path: Path) -> None:
    second = MetricsFile(path, "product-metrics")
    assert not second.acquire()
    assert not second.acquire()
    writer.close()
    assert second.acquire()
    assert second.open("cluster") == {0: Position(1, 9)}
    second.close()


def test_without_its_lock_file_a_writer_does_not_write(writer: MetricsFile, path: Path) -> None:
    path.with_name("metrics.json.lock").unlink()
    second = MetricsFile(path, "product-metrics")
    assert second.acquire()
    for forbidden in (lambda: writer.write([SECOND], {0: Position(2, 9)}), lambda: writer.open("cluster")):
        with pytest.raises(WriterDisplacedError):
            forbidden()
    assert not writer.acquire()
    assert path.read_bytes() == FIRST + b"\n"
    second.close()


def test_a_lock_file_deleted_during_locking_is_not_a_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = MetricsFile(path, "product-metrics")
    lock = fcntl.flock

    def delete_then_lock(descriptor: int, operation: int) -> None:
        path.with_name("metrics.json.lock").unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", delete_then_lock)
    assert not writer.acquire()
    monkeypatch.undo()
    assert writer.acquire()
    writer.close()


def test_an_unwritable_path_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for hopeless in (tmp_path, tmp_path / "file" / "metrics.json", Path("/dev/null/metrics.json"), Path("/dev/null")):
        with pytest.raises(PipelineError, match="SINK_OUTPUT_PATH"):
            MetricsFile(hopeless, "product-metrics").acquire()
