"""Rotation of the metrics file: after a crash at any moment, each metric is in exactly one file."""

import random
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.product_metrics import ProductMetric, encode_metric
from metrics_report.file_source import from_file
from metrics_report.skipped import Skipped
from metrics_report.summary import Selection
from services.sink.file.checkpoint import Checkpoint, load_checkpoint, store_checkpoint
from services.sink.file.disk import Disk
from services.sink.file.finished_files import Span, finished_files
from services.sink.file.finishing import Finishing
from services.sink.file.metrics_file import MetricsFile
from services.sink.file.rotate_setting import DAY_S, Rotate
from services.sink.record_batcher import Position
from tests.unit.sink_disks import Crash, CrashingDisk, PowerCutDisk
from verification.output_file import read_lines

PARTITIONS = 3
WINDOW_S = DAY_S // 2
BY_SIZE, BY_DAY = Rotate(size_bytes=700), Rotate(by_day=True)
Topic = list[list[bytes]]


def topic_of(metrics: int) -> Topic:
    """Partitions of one product each, whose windows close at the same time."""
    topic: Topic = [[] for _ in range(PARTITIONS)]
    for number in range(metrics):
        topic[number % PARTITIONS].append(line_of(number % PARTITIONS, number // PARTITIONS))
    return topic


def line_of(partition: int, offset: int) -> bytes:
    start_s = WINDOW_S * offset
    return encode_metric(ProductMetric(start_s, start_s + WINDOW_S, f"prod-{partition}", 1, 1000 + offset))


def path_in(folder: Path) -> Path:
    return folder / "metrics.json"


def copy(folder: Path, topic: Topic, disk: Disk, rotate: Rotate | None, batch_size: int = 2) -> None:
    """Run the sink from its start to the topic's end, but close its file like a dying process."""
    writer = MetricsFile(path_in(folder), "product-metrics", disk, rotate)
    try:
        assert writer.acquire()
        offsets = {partition: position.next_offset for partition, position in writer.open("cluster").items()}
        for start in range(0, max(map(len, topic)), batch_size):
            for partition, lines in enumerate(topic):
                first = max(start, offsets.get(partition, 0))
                for end in range(first + 1, min(start + batch_size, len(lines)) + 1):
                    if end == min(start + batch_size, len(lines)) or day_of(end) != day_of(first):
                        span = Span(WINDOW_S * first, WINDOW_S * (end - 1)) if rotate else None
                        writer.write(lines[first:end], {partition: Position(end, 0)}, span)
                        first = end
    finally:
        writer.close()


def day_of(offset: int) -> int:
    return WINDOW_S * offset // DAY_S


def lines_in(folder: Path) -> list[bytes]:
    """All lines of all files, without the readers' removal of duplicates, so no file may keep two names."""
    live = path_in(folder)
    paths = [*(file.path for file in finished_files(live)), live]
    return [line for path in paths for line in path.read_bytes().splitlines()]


def assert_each_once(folder: Path, topic: Topic) -> None:
    assert Counter(lines_in(folder)) == Counter(line for partition in topic for line in partition)
    assert not list(folder.glob("*.old"))


def assert_readers_see(folder: Path, least: int) -> None:
    """Check what the report and the verification read: at least the first ``least`` committed metrics, and none twice."""
    seen = Counter(from_file(path_in(folder), Selection(), Skipped()))
    assert all(count == 1 for count in seen.values()), seen
    assert seen.total() >= least
    verified = read_lines(path_in(folder), WINDOW_S)
    assert {tuple(metric) for metric in verified} == {tuple(row) for row in seen}
    assert verified.total() == seen.total()


class WatchedDisk(CrashingDisk):
    """Reads the files like a reader before and after each call that changes them."""

    def __init__(self, folder: Path, crash_at: int | None = None) -> None:
        super().__init__(crash_at)
        self._folder = folder
        self._steps = 0

    def _crashes_in(self, name: str) -> bool:
        checkpoint = load_checkpoint(path_in(self._folder).with_name("metrics.json.checkpoint"))
        committed = sum(each.next_offset for each in checkpoint.positions.values()) if checkpoint else 0
        if path_in(self._folder).exists():
            assert_readers_see(self._folder, committed)
        return super()._crashes_in(name)


@pytest.mark.parametrize("rotate", [BY_SIZE, BY_DAY])
def test_a_crash_at_every_step_of_a_run(tmp_path: Path, rotate: Rotate) -> None:
    topic = topic_of(12)
    rehearsal = WatchedDisk(tmp_path / "rehearsal")
    copy(tmp_path / "rehearsal", topic, rehearsal, rotate)
    assert set(rehearsal.calls) == {"append", "sync", "rename", "remove", "sync_directory", "link", "create"}
    assert rehearsal.calls.count("link") >= 1
    for step in range(1, len(rehearsal.calls) + 1):
        folder = tmp_path / str(step)
        with pytest.raises(Crash):
            copy(folder, topic, WatchedDisk(folder, crash_at=step), rotate)
        copy(folder, topic, CrashingDisk(), rotate)
        assert_each_once(folder, topic)
        assert_readers_see(folder, 12)
        assert {each.name for each in finished_files(path_in(folder))} == {
            each.name for each in finished_files(path_in(tmp_path / "rehearsal"))
        }, f"a crash in step {step} ({rehearsal.calls[step - 1]}) changed which files there are"


@settings(max_examples=100)
@given(
    metrics=st.integers(0, 40),
    batch_size=st.integers(1, 5),
    crashes=st.lists(st.integers(1, 60), max_size=6),
    seed=st.integers(0, 2**32),
    power_cuts=st.booleans(),
    rotate=st.sampled_from([BY_SIZE, BY_DAY, Rotate(size_bytes=1)]),
)
def test_any_crashes_and_power_cuts(
    metrics: int, batch_size: int, crashes: list[int], seed: int, power_cuts: bool, rotate: Rotate
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, topic = Path(name), topic_of(metrics)
        for crash_at in crashes:
            disk = PowerCutDisk(crash_at, random.Random(seed))
            with suppress(Crash):
                copy(folder, topic, disk, rotate, batch_size)
            if power_cuts and len(disk.calls) == crash_at:
                disk.cut_power(folder)
        copy(folder, topic, Disk(), rotate, batch_size)
        assert_each_once(folder, topic)


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path, __: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    topic = topic_of(12)
    copy(tmp_path / "with", topic, Disk(), BY_DAY)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    rehearsal = CrashingDisk()
    copy(tmp_path / "rehearsal", topic, rehearsal, BY_DAY)
    for step in range(1, len(rehearsal.calls) + 1):
        folder = tmp_path / str(step)
        with pytest.raises(Crash):
            copy(folder, topic, CrashingDisk(crash_at=step), BY_DAY)
        copy(folder, topic, Disk(), BY_DAY)
        assert_each_once(folder, topic)


def test_files_are_named_by_the_time_that_they_cover(tmp_path: Path) -> None:
    copy(tmp_path, topic_of(14), Disk(), BY_DAY)
    names = sorted(each.path.name for each in finished_files(path_in(tmp_path)))
    assert names == [
        "metrics-1970-01-01T00-00Z--1970-01-01T12-00Z.json",
        "metrics-1970-01-02T00-00Z--1970-01-02T12-00Z.json",
    ]
    assert [path.read_bytes().count(b"\n") for path in sorted(tmp_path.glob("metrics-*"))] == [6, 6]
    assert path_in(tmp_path).read_bytes().count(b"\n") == 2


def test_a_partition_that_lags_does_not_reopen_a_finished_day(tmp_path: Path) -> None:
    """Two partitions of three days, one after the other: each day is finished once, and late metrics go to the open file."""
    topic = topic_of(3 * 6)[:2]
    copy(tmp_path, topic, Disk(), BY_DAY, batch_size=100)
    files = sorted(finished_files(path_in(tmp_path)), key=lambda each: each.name)
    assert [(each.span.first_s // DAY_S, each.span.last_s // DAY_S) for each in files] == [(0, 0), (1, 1)]
    assert len(path_in(tmp_path).read_bytes().splitlines()) == 2 + 6
    assert_each_once(tmp_path, topic)


@pytest.mark.parametrize("before", [None, BY_DAY])
def test_a_file_from_before_rotation_is_named_by_all_of_its_metrics(tmp_path: Path, before: Rotate | None) -> None:
    """Also if rotation was on before that: metrics written without it belong to the time that the file covers, too."""
    topic = topic_of(6 * PARTITIONS)
    for metrics, rotate in ((2, before), (10, None), (18, BY_DAY)):
        copy(tmp_path, topic_of(metrics), Disk(), rotate)
    [finished] = [each for each in finished_files(path_in(tmp_path)) if each.span.last_s < 2 * DAY_S]
    assert finished.span == Span(0, WINDOW_S * 3)
    first_day = Selection(to_s=DAY_S)
    found = [row for row in from_file(path_in(tmp_path), first_day, Skipped()) if first_day.has(row)]
    assert len(found) == 2 * PARTITIONS
    assert_each_once(tmp_path, topic)


def test_two_files_of_the_same_time_have_different_names(tmp_path: Path) -> None:
    copy(tmp_path, topic_of(3), Disk(), Rotate(size_bytes=1))
    names = sorted(each.path.name for each in finished_files(path_in(tmp_path)))
    assert names == [
        "metrics-1970-01-01T00-00Z--1970-01-01T00-00Z.2.json",
        "metrics-1970-01-01T00-00Z--1970-01-01T00-00Z.json",
    ]
    assert_each_once(tmp_path, topic_of(3))


@pytest.mark.parametrize("rotate", [Rotate(size_bytes=1), BY_DAY])
def test_a_file_that_was_moved_away_does_not_give_its_name_to_another(tmp_path: Path, rotate: Rotate) -> None:
    archive: dict[str, bytes] = {}
    topic = topic_of(15)
    lines = [line for partition in topic for line in partition]
    for metrics in range(1, len(lines) + 1):
        copy(tmp_path, topic_of(metrics), Disk(), rotate)
        for file in list(finished_files(path_in(tmp_path))):
            assert file.path.name not in archive
            archive[file.path.name] = file.path.read_bytes()
            file.path.unlink()
    written = b"".join([*archive.values(), path_in(tmp_path).read_bytes()]).splitlines()
    assert Counter(written) == Counter(lines)


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    topic = topic_of(12)
    rehearsal = CrashingDisk()
    copy(tmp_path / "rehearsal", topic, rehearsal, BY_DAY)
    folder = tmp_path / "run"
    with pytest.raises(Crash):
        copy(folder, topic, CrashingDisk(crash_at=rehearsal.calls.index("create") + 1), BY_DAY)
    checkpoint = load_checkpoint(folder / "metrics.json.checkpoint")
    assert checkpoint
    assert checkpoint.finishing_as
    (folder / checkpoint.finishing_as).write_bytes(b'{"mine":1}\n')
    copy(folder, topic, Disk(), BY_DAY)
    assert (folder / checkpoint.finishing_as).read_bytes() == b'{"mine":1}\n'
    (folder / checkpoint.finishing_as).unlink()
    assert_each_once(folder, topic)


@pytest.mark.parametrize("change", ["deleted", "damaged"])
def test_only_the_live_file_is_rewritten_after_damage(
    tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = topic_of(14)
    copy(tmp_path, topic, Disk(), BY_DAY)
    if change == "deleted":
        path_in(tmp_path).unlink()
    else:
        path_in(tmp_path).write_bytes(path_in(tmp_path).read_bytes().replace(b"prod", b"x"))
    copy(tmp_path, topic, Disk(), BY_DAY)
    assert "from the end of the last finished file" in capsys.readouterr().out
    assert Counter(lines_in(tmp_path)) == Counter(line for partition in topic for line in partition)


def test_a_file_damaged_while_it_has_two_names_is_rewritten(tmp_path: Path) -> None:
    topic = topic_of(20)
    rehearsal = CrashingDisk()
    copy(tmp_path / "rehearsal", topic, rehearsal, BY_DAY)
    links = [number for number, name in enumerate(rehearsal.calls) if name == "link"]
    folder = tmp_path / "run"
    with pytest.raises(Crash):
        copy(folder, topic, CrashingDisk(crash_at=links[1] + 2), BY_DAY)
    live = path_in(folder)
    assert [each.path.samefile(live) for each in sorted(finished_files(live))] == [False, True]
    live.write_bytes(live.read_bytes().replace(b"prod", b"PROD"))
    copy(folder, topic, Disk(), BY_DAY)
    assert Counter(lines_in(folder)) == Counter(line for partition in topic for line in partition)


@pytest.mark.parametrize("lost", ["checkpoint", "both"])
def test_finished_files_without_a_checkpoint_are_put_aside_with_the_rest(tmp_path: Path, lost: str) -> None:
    topic = topic_of(14)
    copy(tmp_path, topic, Disk(), BY_DAY)
    (tmp_path / "metrics.json.checkpoint").unlink()
    if lost == "both":
        path_in(tmp_path).unlink()
    for step in range(1, 100):
        with suppress(Crash):
            copy(tmp_path, topic, CrashingDisk(crash_at=step), BY_DAY)
    copy(tmp_path, topic, Disk(), BY_DAY)
    assert Counter(lines_in(tmp_path)) == Counter(line for partition in topic for line in partition)
    assert len(list(tmp_path.glob("metrics-*.old"))) == 2


def test_a_recreated_topic_puts_the_finished_files_aside(tmp_path: Path) -> None:
    topic = topic_of(14)
    copy(tmp_path, topic, Disk(), BY_DAY)
    writer = MetricsFile(path_in(tmp_path), "product-metrics", rotate=BY_DAY)
    assert writer.acquire()
    assert writer.open("cluster")
    writer.start_over("the reason")
    writer.close()
    assert lines_in(tmp_path) == []
    copy(tmp_path, topic, Disk(), BY_DAY)
    assert Counter(lines_in(tmp_path)) == Counter(line for partition in topic for line in partition)


def test_a_planted_defect_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps in a wrong order, which lose or duplicate lines: the checkpoint is stored before the file is renamed."""

    class FinishesInWrongOrder(Finishing):
        def finish(self, checkpoint: Checkpoint) -> tuple[Checkpoint, Path]:
            store_checkpoint(self._disk, self._checkpoint_path, checkpoint.emptied(checkpoint.positions))
            return super().finish(checkpoint)

    monkeypatch.setattr("services.sink.file.metrics_file.Finishing", FinishesInWrongOrder)
    with pytest.raises(AssertionError):
        test_a_crash_at_every_step_of_a_run(tmp_path, BY_DAY)
