"""Finished metrics files in another format: complete or absent at any time, and without loss."""

import asyncio
import errno
import gzip
import os
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet

from libs.events.product_metrics import MetricRow, ProductMetric, encode_metric
from metrics_report.file_source import from_file
from metrics_report.skipped import Skipped
from metrics_report.summary import Selection
from services.sink.file import converter as converter_module
from services.sink.file.convert import convert
from services.sink.file.converter import KEPT_S, Converter
from services.sink.file.disk import Disk
from services.sink.file.file_writer import FileWriter
from services.sink.file.finished_files import finished_files
from services.sink.file.lines import lines_of
from services.sink.file.metrics_file import MetricsFile
from services.sink.file.rotate_setting import Rotate
from services.sink.metrics_writer import OutputUnavailableError
from services.sink.record_batcher import Position
from tests.integration.services import eventually
from tests.unit.sink_disks import Crash, CrashingDisk
from verification.output_file import read_lines

METRICS = [
    ProductMetric(60 * number, 60 * number + 60, f"prod-{number % 5}", 3, 10_000 + number) for number in range(40)
]
LARGE = ProductMetric(6000, 6060, "prod-é", 7, 2**53)
OTHER = (
    b'{"not":"a metric"}',
    encode_metric(METRICS[0]).replace(b'"prod-0"', b'"other"').replace(b"{", b'{"more":[1],', 1),
)
NAME = "metrics-1970-01-01T00-00Z--1970-01-01T01-41Z"
FORMATS = {"gzip": ".json.gz", "parquet": ".parquet"}


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """The live file, empty, beside a finished one."""
    lines = [*map(encode_metric, (*METRICS, LARGE)), *OTHER]
    (tmp_path / f"{NAME}.json").write_bytes(b"".join(line + b"\n" for line in lines))
    live = tmp_path / "metrics.json"
    live.touch()
    return live


def seen(live: Path) -> Counter[MetricRow]:
    """The lines that the report and the verification read, except the one with a field that is not in the contract."""
    rows = Counter(from_file(live, Selection(), Skipped()))
    own = {tuple(row) for row in rows if row.product_id != "other"}
    assert {tuple(metric) for metric in read_lines(live, 60)} == own
    assert rows.total() == len(METRICS) + 2
    assert all(count == 1 for count in rows.values())
    return rows


class WatchedDisk(CrashingDisk):
    """Checks the files before each call that changes them."""

    def __init__(self, live: Path, crash_at: int) -> None:
        super().__init__(crash_at)
        self._live = live

    def _crashes_in(self, name: str) -> bool:
        seen(self._live)
        return super()._crashes_in(name)


@pytest.mark.parametrize("suffix", FORMATS.values())
def test_a_crash_at_every_step(live: Path, suffix: str) -> None:
    source, target = live.with_name(f"{NAME}.json"), live.with_name(NAME + suffix)
    before = seen(live)
    for step in (1, 2, 3):
        disk = WatchedDisk(live, step)
        with pytest.raises(Crash):
            convert(source, target, disk)
        assert disk.calls == ["sync", "link", "sync_directory"][:step]
        assert target.exists() == (step > 2)
        assert seen(live) == before
    disk = WatchedDisk(live, 0)
    convert(source, target, disk)
    assert disk.calls == ["sync_directory"], "a complete copy stays as it is"
    source.unlink()
    assert seen(live) == before
    assert not list(live.parent.glob("*.tmp"))


def test_gzip_files_decompress_to_the_same_bytes(live: Path) -> None:
    source, target = live.with_name(f"{NAME}.json"), live.with_name(f"{NAME}.json.gz")
    convert(source, target, CrashingDisk())
    assert gzip.decompress(target.read_bytes()) == source.read_bytes()


def test_parquet_has_typed_columns_and_keeps_other_fields(live: Path) -> None:
    target = live.with_name(f"{NAME}.parquet")
    convert(live.with_name(f"{NAME}.json"), target, CrashingDisk())
    rows = parquet.read_table(target).to_pylist()
    assert [row["json"] for row in rows if row["json"]] == [line.decode() for line in OTHER]
    assert rows[40]["total_revenue"] == Decimal("90071992547409.92")
    assert str(parquet.read_schema(target).field("window_start").type) == "timestamp[ms, tz=UTC]"
    assert sum(row["order_count"] or 0 for row in rows) == 3 * 40 + 7 + 3


@pytest.mark.parametrize("target_format", FORMATS)
async def test_the_original_is_deleted_a_minute_after_the_conversion(live: Path, target_format: str) -> None:
    before, now_s = seen(live), 0.0
    source, target = live.with_name(f"{NAME}.json"), live.with_name(NAME + FORMATS[target_format])
    left_behind = target.with_name(f"{target.name}.1.tmp")
    left_behind.write_bytes(b"half")
    converter = Converter(live, target_format, lambda: now_s)
    await converter.convert_all()
    assert not left_behind.exists()
    converted_s = target.stat().st_ctime
    for later_s, kept in ((0, True), (KEPT_S - 1, True), (KEPT_S + 1, False), (KEPT_S + 2, False)):
        now_s = converted_s + later_s
        await converter.convert_all()
        assert source.exists() == kept
        assert seen(live) == before
        assert target.stat().st_ctime == converted_s, "it is converted once"


@pytest.mark.parametrize("target_format", FORMATS)
async def test_a_copy_that_is_taken_away_is_not_made_again(live: Path, target_format: str) -> None:
    now_s = 0.0
    source, target = live.with_name(f"{NAME}.json"), live.with_name(NAME + FORMATS[target_format])
    converter = Converter(live, target_format, lambda: now_s)
    await converter.convert_all()
    converted_s = target.stat().st_ctime
    target.unlink()
    for later_s, kept in ((1, True), (KEPT_S - 1, True), (KEPT_S + 1, False)):
        now_s = converted_s + later_s
        await converter.convert_all()
        assert (source.exists(), target.exists()) == (kept, False)


@pytest.mark.parametrize("target_format", FORMATS)
async def test_another_file_of_the_same_name_is_converted_as_well(live: Path, target_format: str) -> None:
    """After a rebuild of the outputs: the first one and its copy were put aside within the minute."""
    now_s, before = 0.0, seen(live)
    source, target = live.with_name(f"{NAME}.json"), live.with_name(NAME + FORMATS[target_format])
    converter = Converter(live, target_format, lambda: now_s)
    await converter.convert_all()
    now_s = target.stat().st_ctime
    content = source.read_bytes()
    for file in (source, target):
        file.rename(file.with_name(f"{file.name}.1.old"))
    source.write_bytes(content)
    for later_s in (5, KEPT_S + 1, 2 * KEPT_S):
        now_s += later_s
        await converter.convert_all()
        assert seen(live) == before
    assert (source.exists(), target.exists()) == (False, True)


@pytest.mark.parametrize("target_format", FORMATS)
async def test_a_restart_removes_an_original_beside_its_copy(live: Path, target_format: str) -> None:
    before, source, target = seen(live), live.with_name(f"{NAME}.json"), live.with_name(NAME + FORMATS[target_format])
    await Converter(live, target_format).convert_all()
    converted_s = target.stat().st_ctime
    later = Converter(live, target_format, lambda: converted_s + KEPT_S + 1)
    for _ in range(2):
        await later.convert_all()
        assert seen(live) == before
    assert not source.exists()
    assert target.stat().st_ctime == converted_s, "it is converted once"


async def test_another_pipeline_s_copy_of_the_same_name_is_not_taken_for_this_one_s(
    live: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two pipelines in a folder, whose live files differ only in the suffix, which the Parquet files lack."""
    other_live = live.with_name("metrics.jsonl")
    source, other_source = (live.with_name(NAME + suffix) for suffix in (".json", ".jsonl"))
    content, other_content = source.read_bytes(), b"".join(source.read_bytes().splitlines(keepends=True)[1:])
    other_source.write_bytes(other_content)
    now_s = time.time()
    first, other = (Converter(path, "parquet", lambda: now_s) for path in (live, other_live))
    for _ in range(3):
        await first.convert_all()
        await other.convert_all()
        now_s += KEPT_S + 1
    assert not source.exists()
    assert other_source.read_bytes() == other_content
    source.write_bytes(content)
    convert(source, live.with_name(f"{NAME}.parquet"), CrashingDisk())  # it is still that of the first one
    assert capsys.readouterr().out.count("is not converted") == 1


@pytest.mark.parametrize("suffix", FORMATS.values())
@pytest.mark.parametrize("lines", [0, 1, 41, 44])
def test_a_copy_with_other_content_is_kept_and_reported(live: Path, suffix: str, lines: int) -> None:
    source, target = live.with_name(f"{NAME}.json"), live.with_name(NAME + suffix)
    convert(source, target, CrashingDisk())
    copy = target.read_bytes()
    source.write_bytes(b"".join([*source.read_bytes().splitlines(keepends=True), b'{"one":"more"}\n'][:lines]))
    with pytest.raises(FileExistsError, match=NAME):
        convert(source, target, CrashingDisk())
    assert target.read_bytes() == copy


@pytest.mark.parametrize("suffix", FORMATS.values())
def test_a_copy_that_another_process_makes_meanwhile_is_not_replaced(live: Path, suffix: str) -> None:
    target = live.with_name(NAME + suffix)

    class Meanwhile(Disk):
        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            target.write_bytes(b"of another process")

    with pytest.raises(FileExistsError):
        convert(live.with_name(f"{NAME}.json"), target, Meanwhile())
    assert target.read_bytes() == b"of another process"
    assert not list(live.parent.glob("*.tmp"))


async def test_a_file_that_cannot_be_converted_is_kept_and_reported(
    live: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise OSError('no space left')")
    monkeypatch.setattr(converter_module, "_PROGRAM", program)
    running = asyncio.create_task(Converter(live, "gzip").run())
    log_output: list[str] = []

    def is_logged() -> bool:
        log_output.append(capsys.readouterr().out)
        return "no space left" in "".join(log_output)

    await eventually(is_logged)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "could not be converted" in "".join(log_output)
    assert [each.path.suffix for each in finished_files(live)] == [".json"]


async def test_a_failed_conversion_does_not_block_later_ones(live: Path) -> None:
    later = live.with_name("metrics-1970-01-02T00-00Z--1970-01-02T01-41Z.json")
    later.write_bytes(live.with_name(f"{NAME}.json").read_bytes())
    live.with_name(f"{NAME}.json").write_bytes(b"\xff\n")
    with pytest.raises(OSError, match=NAME):
        await Converter(live, "parquet").convert_all()
    assert later.with_suffix(".parquet").exists()


async def test_a_full_round_of_failed_conversions_does_not_block_later_ones(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter_module, "_MOST_FAILURES", 2)
    good = live.with_name(f"{NAME}.json").rename(live.with_name("metrics-1970-01-02T00-00Z--1970-01-02T01-41Z.json"))
    damaged = [live.with_name(f"{NAME}.{number}.json") for number in (2, 3, 4)]
    for file in damaged:
        file.write_bytes(b"\xff\n")
    converter = Converter(live, "parquet")
    with pytest.raises(OSError, match=NAME):
        await converter.convert_all()
    assert not good.with_suffix(".parquet").exists()
    with pytest.raises(OSError, match=NAME):
        await converter.convert_all()
    assert good.with_suffix(".parquet").exists()
    damaged[2].write_bytes(good.read_bytes())  # failed once, and can be converted now
    for _ in range(2):
        with pytest.raises(OSError, match=NAME):
            await converter.convert_all()
    assert damaged[2].with_suffix(".parquet").exists()


class DiskWithoutRoomToFinish(CrashingDisk):
    """While it is full, the last step of finishing a file fails."""

    is_full = False

    def append(self, descriptor: int, data: bytes) -> None:
        if self.is_full and data.startswith(b'{"version"') and b"finishing_as" not in data:
            raise OSError(errno.ENOSPC, "no space left")
        super().append(descriptor, data)


class WatchedConverter(Converter):
    """Tells whether it runs."""

    is_running = False

    async def run(self) -> None:
        self.is_running = True
        try:
            await super().run()
        finally:
            self.is_running = False


async def test_nothing_is_converted_after_a_failed_write_until_the_file_is_opened_again(tmp_path: Path) -> None:
    """The checkpoint names a file that is still being finished: removed, it would be written a second time."""
    live, disk, now_s = tmp_path / "metrics.json", DiskWithoutRoomToFinish(), time.time()
    converter = WatchedConverter(live, "gzip", lambda: now_s)
    writer = FileWriter(MetricsFile(live, "product-metrics", disk, Rotate(size_bytes=300)), converter)

    async def write(begin: int, end: int) -> None:
        await writer.write(lines_of([encode_metric(each) for each in METRICS[begin:end]]), {0: Position(end, 0)})

    assert await writer.acquire()
    await writer.open("cluster")
    await write(0, 2)
    await write(2, 4)
    assert converter.is_running
    disk.is_full = True
    with pytest.raises(OutputUnavailableError, match="no space left"):
        await write(4, 6)
    assert await writer.acquire()
    for _ in range(2):  # Kafka is away for longer than an original is kept
        if converter.is_running:
            await converter.convert_all()
        now_s += KEPT_S + 1
    disk.is_full = False
    begin = (await writer.open("cluster"))[0].next_offset
    for next_offset in range(begin, 6, 2):
        await write(next_offset, next_offset + 2)
    assert converter.is_running
    await writer.close()
    windows = Counter(row.window_start for row in from_file(live, Selection(), Skipped()))
    assert windows == Counter(each.window_start for each in METRICS[:6])


async def test_a_conversion_can_be_stopped(live: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, started = tmp_path / "program.py", tmp_path / "started"
    program.write_text(f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(3600)")
    monkeypatch.setattr(converter_module, "_PROGRAM", program)
    running = asyncio.create_task(Converter(live, "gzip").run())
    await eventually(lambda: started.exists() and bool(started.read_text()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.mark.parametrize("sink_is_its_parent", [True, False])
async def test_a_conversion_for_a_sink_that_has_ended_creates_nothing(live: Path, *, sink_is_its_parent: bool) -> None:
    """A sink that was killed before the program could ask for its parent."""
    target = live.with_name(f"{NAME}.json.gz")
    program = Path(converter_module.__file__).with_name("convert.py")
    sink_pid = os.getpid() if sink_is_its_parent else os.getppid()
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, live.with_name(f"{NAME}.json"), target, str(sink_pid),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert (process.returncode == 0) is target.exists() is sink_is_its_parent
    assert (b"the sink has ended" in errors) is not sink_is_its_parent
    assert not list(live.parent.glob("*.tmp"))


async def test_a_conversion_whose_sink_has_ended_replaces_nothing(live: Path, tmp_path: Path) -> None:
    """The sink is killed during a conversion; its successor may have put the file aside since."""
    pipe, target = tmp_path / "pipe", tmp_path / f"{NAME}.json.gz"
    os.mkfifo(pipe)
    program = Path(converter_module.__file__).with_name("convert.py")
    sink = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import os, subprocess; subprocess.Popen([{sys.executable!r}, {str(program)!r}, "
        f"{str(pipe)!r}, {str(target)!r}, str(os.getpid())], stderr=subprocess.DEVNULL); import time; time.sleep(3600)",
    )  # fmt: skip
    writing = await asyncio.to_thread(pipe.open, "wb")
    sink.kill()
    await sink.wait()
    writing.write(b"{}\n")
    writing.close()
    await eventually(lambda: not list(tmp_path.glob("*.tmp")))
    assert not target.exists()
