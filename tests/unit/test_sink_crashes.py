"""After a crash at any moment, a restarted sink leaves each metric in the file exactly once."""

import random
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sink.file.checkpoint import DamagedCheckpointError, load_checkpoint
from services.sink.file.disk import Disk
from services.sink.file.metrics_file import MetricsFile
from services.sink.record_batcher import Position
from tests.unit.sink_disks import Crash, CrashingDisk, PowerCutDisk

PARTITIONS = 3
Topic = list[list[bytes]]


def topic_of(metrics: int) -> Topic:
    topic: Topic = [[] for _ in range(PARTITIONS)]
    for number in range(metrics):
        partition = topic[number % PARTITIONS]
        partition.append(b'{"partition":%d,"offset":%d}' % (number % PARTITIONS, len(partition)))
    return topic


def copy(path: Path, topic: Topic, disk: Disk, batch_size: int = 2) -> None:
    """Run the sink from its start to the topic's end, but close its file like a dying process."""
    writer = MetricsFile(path, "product-metrics", disk)
    try:
        assert writer.acquire()
        offsets = {partition: position.next_offset for partition, position in writer.open("cluster").items()}
        assert all(offset <= len(topic[partition]) for partition, offset in offsets.items())
        for partition, lines in enumerate(topic):
            while (start := offsets.get(partition, 0)) < len(lines):
                end = min(start + batch_size, len(lines))
                writer.write(lines[start:end], {partition: Position(end, 0)})
                offsets[partition] = end
    finally:
        writer.close()


def assert_equal(path: Path, topic: Topic) -> None:
    lines = path.read_bytes().splitlines()
    assert Counter(lines) == Counter(line for partition in topic for line in partition)
    for number, partition in enumerate(topic):
        assert [line for line in lines if line.startswith(b'{"partition":%d,' % number)] == partition


def assert_checkpoint_matches_files(path: Path, topic: Topic) -> None:
    checkpoint = load_checkpoint(path.with_name(path.name + ".checkpoint"))
    if checkpoint is None:
        return
    done = path.read_bytes()[: checkpoint.length]
    assert len(done) == checkpoint.length
    assert done == b"" or done.endswith(b"\n")
    expected = [line for number, position in checkpoint.positions.items() for line in topic[number][: position[0]]]
    assert sorted(done.splitlines()) == sorted(expected)


def calls_of_a_complete_run(folder: Path, topic: Topic) -> list[str]:
    disk = CrashingDisk()
    copy(folder / "rehearsal.json", topic, disk)
    return disk.calls


def test_a_crash_at_every_step_of_a_run(tmp_path: Path) -> None:
    topic = topic_of(9)
    steps = calls_of_a_complete_run(tmp_path, topic)
    assert set(steps) == {"append", "sync", "rename", "remove", "sync_directory"}
    for step in range(1, len(steps) + 1):
        path = tmp_path / str(step) / "metrics.json"
        with pytest.raises(Crash):
            copy(path, topic, CrashingDisk(crash_at=step))
        assert_checkpoint_matches_files(path, topic)
        copy(path, topic, Disk())
        assert_equal(path, topic)
        assert not list(path.parent.glob("*.old")), f"a crash in step {step} ({steps[step - 1]}) made it start over"


def test_a_crash_at_every_step_of_starting_over(tmp_path: Path) -> None:
    topic = topic_of(6)
    rehearsal = tmp_path / "rehearsal.json"
    rehearsal.write_bytes(b"not ours\n")
    disk = CrashingDisk()
    copy(rehearsal, topic, disk)
    for step in range(1, len(disk.calls) + 1):
        path = tmp_path / str(step) / "metrics.json"
        path.parent.mkdir()
        path.write_bytes(b"not ours\n")
        with pytest.raises(Crash):
            copy(path, topic, CrashingDisk(crash_at=step))
        copy(path, topic, Disk())
        assert_equal(path, topic)
        assert [old.read_bytes() for old in path.parent.glob("*.old")] == [b"not ours\n"]


def test_crashes_leave_incomplete_lines_and_checkpoints(tmp_path: Path) -> None:
    topic = topic_of(5)
    path = tmp_path / "metrics.json"
    copy(path, topic, Disk())
    with path.open("ab") as file:
        file.write(b'{"partition":0,"off')
    path.with_name("metrics.json.checkpoint.tmp").write_bytes(b'{"vers')
    topic = topic_of(8)
    copy(path, topic, Disk())
    assert_equal(path, topic)


def test_lines_without_a_checkpoint_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    copy(path, topic_of(3), Disk())
    with path.open("ab") as file:
        file.write(b'{"partition":0,"offset":1}\n')
    copy(path, topic_of(9), Disk())
    assert_equal(path, topic_of(9))


def test_written_data_survives_a_power_cut(tmp_path: Path) -> None:
    topic = topic_of(8)
    path = tmp_path / "metrics.json"
    for seed in range(20):
        disk = PowerCutDisk(None, random.Random(seed))
        copy(path, topic, disk)
        disk.cut_power(path.parent)
        checkpoint = load_checkpoint(path.with_name("metrics.json.checkpoint"))
        assert checkpoint is not None
        assert checkpoint.positions == {0: (3, 0), 1: (3, 0), 2: (2, 0)}
        assert_checkpoint_matches_files(path, topic)
        path.unlink()


@settings(max_examples=100)
@given(
    metrics=st.integers(0, 30),
    batch_size=st.integers(1, 5),
    crashes=st.lists(st.integers(1, 40), max_size=6),
    seed=st.integers(0, 2**32),
    power_cuts=st.booleans(),
)
def test_any_crashes_and_power_cuts(
    metrics: int, batch_size: int, crashes: list[int], seed: int, power_cuts: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.json"
        topic = topic_of(metrics)
        for crash_at in crashes:
            disk = PowerCutDisk(crash_at, random.Random(seed))
            with suppress(Crash):
                copy(path, topic, disk, batch_size)
            if power_cuts and len(disk.calls) == crash_at:
                disk.cut_power(path.parent)
            assert_checkpoint_matches_files(path, topic)
        copy(path, topic, Disk(), batch_size)
        assert_equal(path, topic)


@settings(max_examples=100)
@given(
    damages=st.lists(
        st.tuples(
            st.sampled_from(["metrics.json", "metrics.json.checkpoint"]),
            st.sampled_from(["delete", "cut", "flip", "append", "replace"]),
            st.integers(0, 10_000),
        ),
        max_size=5,
    ),
    crashes=st.lists(st.integers(1, 40), min_size=5, max_size=5),
)
def test_any_damage_to_the_files_while_it_is_down(damages: list[tuple[str, str, int]], crashes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.json"
        topic = topic_of(12)
        copy(path, topic, Disk())
        for (name, kind, number), crash_at in zip(damages, crashes, strict=False):
            damage(path.with_name(name), kind, number)
            with suppress(Crash):
                copy(path, topic, CrashingDisk(crash_at))
        copy(path, topic, Disk())
        assert_equal(path, topic)


def damage(path: Path, kind: str, number: int) -> None:
    data = bytearray(path.read_bytes()) if path.exists() else bytearray()
    if kind == "delete":
        path.unlink(missing_ok=True)
        return
    if kind == "cut":
        del data[number % (len(data) + 1) :]
    elif kind == "flip" and data:
        data[number % len(data)] ^= 1 << number % 8
    elif kind == "append":
        data += b"\xff{}\n"
    elif kind == "replace":
        data = bytearray(b"something else\n" * (number % 50))
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_distinguished_from_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "x.checkpoint"
    assert load_checkpoint(path) is None
    path.write_bytes(b"{}")
    with pytest.raises(DamagedCheckpointError):
        load_checkpoint(path)
