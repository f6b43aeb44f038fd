"""Another program rotates the metrics file: the sink continues, and each metric is once in all files together."""

import bz2
import gzip
import lzma
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from services.sink.file.metrics_file import MetricsFile
from services.sink.metrics_writer import OutputChangedError
from services.sink.record_batcher import Position
from tests.unit.sink_disks import Crash, CrashingDisk


class Run:
    """A sink's file and the lines written into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[bytes] = []
        self.writer = MetricsFile(path, "product-metrics")
        assert self.writer.acquire()
        self.writer.open("cluster")

    def write(self, count: int = 3) -> None:
        """Write a batch; like the sink, start again from the file's progress whenever the file was changed."""
        for _ in range(count):
            self.written.append(b'{"n":%d}' % len(self.written))
        while True:
            try:
                self.writer.write([], {})
                break
            except OutputChangedError:
                self.writer.open("cluster")
        begun = self.writer._checkpoint.positions.get(0, Position(0, 0)).next_offset
        self.writer.write(self.written[begun:], {0: Position(len(self.written), 0)})

    def restart(self, disk: CrashingDisk | None = None) -> None:
        self.writer.close()
        self.writer = MetricsFile(self.path, "product-metrics", disk)
        assert self.writer.acquire()
        self.writer.open("cluster")

    def assert_each_once(self, *rotated: bytes) -> None:
        lines = b"".join([*rotated, self.path.read_bytes()]).splitlines()
        assert Counter(lines) == Counter(self.written)

    @property
    def put_aside(self) -> list[Path]:
        return sorted(self.path.parent.glob("*.old"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "metrics.json")
    run.write()
    run.write()
    return run


def renamed(path: Path) -> None:
    path.rename(path.with_name("metrics.json.1"))


def renamed_and_created(path: Path) -> None:
    renamed(path)
    path.touch()


def copied_and_truncated(path: Path) -> None:
    shutil.copy(path, path.with_name("metrics.json.1"))
    with path.open("r+b") as file:
        file.truncate(0)


ROTATIONS = [renamed, renamed_and_created, copied_and_truncated]


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("restarted", [False, True])
def test_it_continues_in_a_new_file_and_logs_the_rotation(
    run: Run, rotate: Callable[[Path], None], restarted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        before = len(run.written)
        rotate(run.path)
        if restarted:
            run.restart()
        run.write()
        assert len(run.path.read_bytes().splitlines()) == len(run.written) - before
        log_output = capsys.readouterr().out
        assert "rotated by another program" in log_output
        assert "metrics.json.1" in log_output
        run.path.with_name("metrics.json.1").rename(run.path.with_name(f"metrics.json.1{number}"))
    run.restart()
    run.assert_each_once(*(run.path.with_name(f"metrics.json.1{number}").read_bytes() for number in range(3)))
    assert run.put_aside == []


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("suffix", "module"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_a_rotated_file_may_be_compressed(run: Run, suffix: str, module: object, restarted: bool) -> None:
    content = run.path.read_bytes()
    run.path.with_name(f"metrics.json-20261128{suffix}").write_bytes(module.compress(content))  # type: ignore[attr-defined]
    run.path.unlink()
    if restarted:
        run.restart()
    run.write()
    run.assert_each_once(content)


def test_a_file_moved_to_another_folder_while_the_sink_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    moved = run.path.rename(tmp_path / "archive" / "metrics.json")
    run.write()
    run.assert_each_once(moved.read_bytes())


def test_lines_written_between_the_copy_and_the_truncation_are_written_again(run: Run) -> None:
    """Lines written between the copy and the truncation are in no file any more, so they are written again."""
    copy = run.path.with_name("metrics.json.1")
    shutil.copy(run.path, copy)
    run.write()
    run.write()
    with run.path.open("r+b") as file:
        file.truncate(0)
    run.write()
    run.assert_each_once(copy.read_bytes())


def test_a_truncation_between_the_check_and_the_write_is_detected(run: Run) -> None:
    copied_and_truncated(run.path)
    lines = [b'{"n":6}', b'{"n":7}']
    run.written += lines
    # As if the check had been just before the truncation.
    run.writer._require_unchanged = lambda: run.writer._descriptor or 0  # type: ignore[method-assign]
    run.writer.write(lines, {0: Position(8, 0)})
    del run.writer._require_unchanged
    run.write()
    run.assert_each_once(run.path.with_name("metrics.json.1").read_bytes())
    assert run.put_aside == []


def test_a_copy_made_during_a_write_repeats_only_that_write(run: Run) -> None:
    copied_and_truncated(run.path)
    with run.path.with_name("metrics.json.1").open("ab") as copy:
        copy.write(b'{"n":6}\n{"n"')
    run.write()
    assert run.path.read_bytes().splitlines() == run.written[6:]


def test_a_foreign_file_in_place_of_the_rotated_one_is_put_aside(run: Run) -> None:
    renamed(run.path)
    run.path.write_bytes(b"a user's own\n")
    run.write()
    run.assert_each_once(run.path.with_name("metrics.json.1").read_bytes())
    assert [old.read_bytes() for old in run.put_aside] == [b"a user's own\n"]


def test_a_deleted_file_is_written_again(run: Run) -> None:
    run.path.with_name("metrics.json.1").write_bytes(b"something else\n" * 100)
    run.path.unlink()
    run.write()
    run.assert_each_once()


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_a_crash_at_every_step_of_resuming_after_a_rotation(tmp_path: Path, rotate: Callable[[Path], None]) -> None:
    step = 0
    while True:
        step += 1
        (tmp_path / str(step)).mkdir()
        run = Run(tmp_path / str(step) / "metrics.json")
        run.write()
        rotate(run.path)
        disk = CrashingDisk(crash_at=step)
        try:
            run.restart(disk)
            run.write()
        except Crash:
            run.restart()
        disk.crash_at = None
        run.write()
        run.assert_each_once(run.path.with_name("metrics.json.1").read_bytes())
        assert run.put_aside == []
        run.writer.close()
        if run.writer._disk is disk:  # it ended without a crash
            break
    assert step > 4
