"""The metrics report: for each source and format, the total is the sum to the cent."""

import asyncio
import csv
import gzip
import io
import json
import os
import random
import re
import resource
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import OffsetOutOfRangeError
from pyarrow import parquet

from cli.app import run
from cli.commands import metrics as metrics_command
from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow, ProductMetric, encode_metric
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from metrics_report import sources
from metrics_report.formats import write_parquet
from metrics_report.skipped import Skipped
from metrics_report.summary import Line, Selection, summarize
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.session import Move
from services.sink.file.convert import convert
from services.sink.file.disk import Disk
from services.sink.record_batcher import Position
from verification.output_file import read_lines
from verification.topic_reader import Offsets

START = 1_795_305_600  # 2026-11-22T00:00:00Z
RANDOM = random.Random(11)
METRICS = [
    ProductMetric(START + 60 * minute, START + 60 * minute + 60, f"prod-{product}", 3, RANDOM.randrange(1, 10**7))
    for minute in range(0, 3000, 7)
    for product in (1, 2)
]
LARGE = ProductMetric(START, START + 60, "prod-3", 7, 2**53)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [encode_metric(metric) + b"\n" for metric in (*METRICS, LARGE)]
    (tmp_path / "metrics.json").write_bytes(b"".join(lines) + b"?\n" + lines[0][:30])
    return tmp_path


Report = Callable[..., str]


@pytest.fixture
def report(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    """Runs `pipeline metrics` on the file in ``folder``; returns what it prints."""
    for name in list(os.environ):
        if name.startswith(("KAFKA_", "SINK_", "LOCAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SINK_OUTPUT_PATH", str(folder / "metrics.json"))

    def printed(*arguments: str, exit_code: int = 0) -> str:
        capsys.readouterr()
        ended = run(["metrics", *arguments])
        out, err = capsys.readouterr()
        assert ended == exit_code, err
        return out or err

    return printed


def expected_sums(period_s: int) -> dict[tuple[int, str], tuple[int, int]]:
    sums: defaultdict[tuple[int, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for metric in (*METRICS, LARGE):
        key = (metric.window_start - metric.window_start % period_s, metric.product_id)
        orders, cents = sums[key]
        sums[key] = (orders + metric.order_count, cents + metric.revenue_cents)
    return dict(sums)


@pytest.mark.parametrize(("period", "length_s"), [("minute", 60), ("hour", 3600), ("day", 86_400)])
def test_csv_by_period(report: Report, period: str, length_s: int) -> None:
    *rows, total = csv.DictReader(io.StringIO(report("--by", period, "--format", "csv")))
    expected = expected_sums(length_s)
    assert len(rows) == len(expected)
    assert [int(Decimal(row["total_revenue"]) * 100) for row in rows] == [
        cents for _, (_, cents) in sorted(expected.items())
    ]
    assert total["period"] == "total"
    assert Decimal(total["total_revenue"]) == sum(Decimal(row["total_revenue"]) for row in rows)
    assert int(total["order_count"]) == sum(int(row["order_count"]) for row in rows)


def test_json_lines_are_exact_beyond_float_precision(report: Report) -> None:
    text = report("--format", "jsonl", "--product", "prod-3")
    row, total = (json.loads(line, parse_float=Decimal) for line in text.splitlines())
    assert row == {
        "period": "2026-11-22T00:00:00Z",
        "product_id": "prod-3",
        "order_count": 7,
        "total_revenue": Decimal("90071992547409.92"),
        "avg_order_value": Decimal("12867427506772.85"),
    }
    assert total["total_revenue"] == row["total_revenue"]


def test_sums_may_have_more_than_64_bits(folder: Path, report: Report) -> None:
    metrics = [
        ProductMetric(START + 60 * each, START + 60 * each + 60, "prod-1", 2**62, 10**18 - 1)
        for each in (1, 2, 3, 4, 5)
    ]
    (folder / "metrics.json").write_bytes(b"".join(encode_metric(metric) + b"\n" for metric in metrics))
    total = json.loads(report("--by", "day", "--json"), parse_float=Decimal)["total"]
    assert total["order_count"] == 5 * 2**62
    assert total["total_revenue"] * 100 == 5 * (10**18 - 1)


def test_parquet_has_room_for_a_sum_of_the_largest_metrics(folder: Path, report: Report) -> None:
    metrics = [ProductMetric(START + 60 * each, START + 60 * each + 60, "prod-1", 7, 10**18 - 1) for each in range(20)]
    (folder / "metrics.json").write_bytes(b"".join(encode_metric(metric) + b"\n" for metric in metrics))
    report("--by", "day", "--format", "parquet", "--to-file", str(folder / "report.parquet"))
    (line,) = parquet.read_table(folder / "report.parquet").to_pylist()
    assert line["total_revenue"] * 100 == 20 * (10**18 - 1)


def test_a_time_range(report: Report) -> None:
    arguments = ("--from", "2026-11-22T01:00", "--to", "2026-11-22T04:00+01:00", "--format", "jsonl", "--by", "minute")
    *rows, _ = map(json.loads, report(*arguments, "--product=prod-1", "--product=prod-2").splitlines())
    inside = [each for each in METRICS if START + 3600 <= each.window_start < START + 3 * 3600]
    assert len(rows) == len(inside) > 20


def test_a_table_with_bars(report: Report) -> None:
    text = report("--by", "day", "--plot", "--product", "prod-1")
    cents = sum(each.revenue_cents for each in METRICS if each.product_id == "prod-1")
    assert f"{cents // 100}.{cents % 100:02d}" in text.splitlines()[-2]
    assert "█" in text


@pytest.mark.parametrize(
    ("product", "shown"),
    [("[red]shoes[/red]",) * 2, ("[/x]",) * 2, (":smile:",) * 2, ("a\x1b[2Jb", r"a\x1b[2Jb"), ("a\nb", r"a\nb")],
)
def test_a_table_shows_any_product_id_as_text(folder: Path, report: Report, product: str, shown: str) -> None:
    line = encode_metric(ProductMetric(START, START + 60, product, 1, 100))
    (folder / "metrics.json").write_bytes(line + b"\n")
    assert shown in report()


@pytest.mark.parametrize("product", ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", " a ", "a\x85b", "a\u2028b"])
def test_csv_has_any_product_id_in_one_cell(folder: Path, report: Report, product: str) -> None:
    line = encode_metric(ProductMetric(START, START + 60, product, 1, 100))
    (folder / "metrics.json").write_bytes(line + b"\n")
    row, total = csv.DictReader(io.StringIO(report("--format", "csv"), newline=""))
    assert (row["product_id"], row["total_revenue"], total["total_revenue"]) == (product, "1.00", "1.00")


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".parquet"])
def test_finished_files_are_read_together_with_the_live_one(folder: Path, report: Report, suffix: str) -> None:
    arguments = ("--format", "csv", "--from", "2026-11-22T05:00")
    same = report(*arguments)
    lines = (folder / "metrics.json").read_bytes().splitlines(keepends=True)
    finished = folder / "metrics-2026-11-22T00-00Z--2026-11-22T11-33Z.json"
    finished.write_bytes(b"".join(lines[:200]))
    (folder / "metrics.json").write_bytes(b"".join(lines[200:]))
    if suffix != ".json":
        target = finished.with_name(finished.stem + suffix)
        convert(finished, target, Disk())
        assert report(*arguments) == same, "each metric once, although it is in two formats"
        finished.unlink()
        assert report("--file", str(target), "--format", "csv").count("\n") > 20
    assert report(*arguments) == same
    # By its name it has no metrics of that time, so it is not even opened.
    for name in folder.glob("metrics-*"):
        name.write_bytes(b"?")
    assert report("--format", "csv", "--from", "2026-11-22T11:34").count("\n") > 20


def damaged(content: bytes, where: str) -> bytes:
    """``content`` with bytes missing or changed."""
    middle = len(content) // 2
    return {
        "end": content[:middle],
        "middle": content[:middle] + bytes(20) + content[middle + 20 :],
        "first block": content[:12] + b"\xff" * 20 + content[32:],
        "all": b"no such format",
    }[where]


@pytest.mark.parametrize("suffix", [".json.gz", ".parquet"])
@pytest.mark.parametrize("where", ["end", "middle", "first block", "all"])
def test_a_damaged_finished_file_is_named(folder: Path, report: Report, suffix: str, where: str) -> None:
    finished = folder / f"metrics-2026-11-22T00-00Z--2026-11-22T11-33Z{suffix}"
    convert(folder / "metrics.json", finished, Disk())
    finished.write_bytes(damaged(finished.read_bytes(), where))
    assert str(finished) in report(exit_code=1)
    with pytest.raises(PipelineError, match=re.escape(str(finished))):
        read_lines(folder / "metrics.json", 60)


def test_a_name_with_no_date_is_of_another_program(folder: Path, report: Report) -> None:
    same = report("--json")
    (folder / "metrics-2026-11-22T00-00Z--2026-13-22T11-33Z.json").write_bytes(b"{}\n")
    assert report("--json") == same
    assert read_lines(folder / "metrics.json", 60).total() == len(METRICS) + 1


def test_a_parquet_file_of_another_program_is_named(folder: Path, report: Report) -> None:
    other = folder / "other.parquet"
    report("--format", "parquet", "--to-file", str(other))
    assert f"{other} is no file of the sink" in report("--file", str(other), exit_code=1)


def test_a_file_that_must_not_be_read_is_named(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    (folder / "metrics.json").mkdir()
    with pytest.raises(PipelineError, match=re.escape(str(folder / "metrics.json"))):
        read_lines(folder / "metrics.json", 60)


def test_a_gzipped_file(folder: Path, report: Report) -> None:
    (folder / "old.json.gz").write_bytes(gzip.compress((folder / "metrics.json").read_bytes()))
    same = report("--format", "csv")
    assert report("--format", "csv", "--file", str(folder / "old.json.gz")) == same


def test_parquet(folder: Path, report: Report) -> None:
    path = folder / "report.parquet"
    report("--format", "parquet", "--to-file", str(path), "--by", "hour")
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    expected = expected_sums(3600)
    assert sum(row["total_revenue"] for row in rows) * 100 == sum(cents for _, cents in expected.values())
    assert len(rows) == len(expected)


@pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
def test_a_file_has_what_would_be_printed(folder: Path, report: Report, form: str) -> None:
    path = folder / "report"
    path.write_text("old")
    said = report("--format", form, "--by", "day", "--to-file", str(path))
    assert len(said.splitlines()) < 5, "nothing but a note"
    assert path.read_text("utf-8") == report("--format", form, "--by", "day")


@pytest.mark.parametrize("form", ["table", "csv", "parquet"])
@pytest.mark.parametrize("target", ["missing/report", "."])
def test_a_file_that_cannot_be_written_is_named(
    folder: Path, report: Report, monkeypatch: pytest.MonkeyPatch, form: str, target: str
) -> None:
    monkeypatch.chdir(folder)
    *_, message = report("--format", form, "--to-file", target, exit_code=1).splitlines()
    assert message.startswith(f"pipeline: {target} cannot be written: ")
    assert "give another --to-file" in message


@pytest.mark.parametrize("form", ["table", "csv", "parquet"])
def test_a_full_disk_leaves_the_former_file(folder: Path, report: Report, form: str) -> None:
    path = folder / "report"
    path.write_text("old")
    before = set(folder.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        *_, message = report("--format", form, "--to-file", str(path), exit_code=1).splitlines()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message.startswith(f"pipeline: {path} cannot be written: ")
    assert path.read_text() == "old"
    assert set(folder.iterdir()) == before


def test_a_pipe_that_fails_stays_one(tmp_path: Path) -> None:
    """Regression: pyarrow removed a path that it could not write to, also /dev/full."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def write() -> None:
        with path.open("wb") as file:
            os.close(reader)
            write_parquet([Line(START, "prod-1", 1, 1)], file)

    with pytest.raises(BrokenPipeError):
        write()
    assert path.is_fifo()


async def fill_database(url: str) -> None:
    session = await database_at(parse_address(url)).connect()
    epoch = await session.take_over("test", 10)
    assert epoch
    rows = [MetricRow(*each, mean_cents(each.revenue_cents, each.order_count)) for each in (*METRICS, LARGE)]
    await session.write(epoch, rows, [Move(0, None, Position(1, 1))])
    await session.close()


def test_a_database_gives_the_same_report_as_the_file(folder: Path, report: Report) -> None:
    url = f"sqlite:///{folder}/metrics.db"
    asyncio.run(fill_database(url))
    arguments = ("--format", "csv", "--from", "2026-11-22T01:00", "--to", "2026-11-23")
    assert report("--source", "database", "--database", url, *arguments) == report(*arguments)


def test_the_source_is_the_one_that_an_option_names(
    folder: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, other = f"sqlite:///{folder}/metrics.db", folder / "other.json"
    asyncio.run(fill_database(url))
    other.write_bytes(encode_metric(ProductMetric(START, START + 60, "of the other file", 1, 100)) + b"\n")
    (folder / "metrics.json").write_bytes(b"")
    assert "prod-3" in report("--database", url)
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    monkeypatch.setenv("SINK_DATABASE_URL", url)
    assert "of the other file" in report("--file", str(other))
    assert "of the other file" in report("--file", str(other), "--database", url)
    assert "prod-3" in report("--file", str(other), "--source", "database")


def test_no_metrics_is_an_error_message(folder: Path, report: Report) -> None:
    assert "no metrics were found" in report("--product", "none", exit_code=1)
    assert "cannot be read" in report("--file", str(folder / "none.json"), exit_code=1)
    missing = ("--source", "database", "--database", f"sqlite:///{folder / 'none.db'}")
    without_database = report(*missing, exit_code=1)
    assert "there is no database" in without_database
    assert "--database postgresql://" in without_database
    assert "is not a time" in report("--from", "yesterday", exit_code=2)
    assert "hidden" not in report("--database", "mysql://me:hidden@there/db", exit_code=2).partition("usage")[0]


def test_windows_belong_to_the_period_in_which_they_begin() -> None:
    row = MetricRow(3590, 3650, "a", 1, 5, 5)
    assert [line.period_start for line in summarize([row], Selection(), "hour")] == [0]
    assert summarize([row], Selection(from_s=3591), "hour") == []


def test_the_rows_of_a_topic_are_added_up_one_by_one(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    """Regression: all of them were in memory."""
    alive = most = 0

    class CountedRow(MetricRow):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    async def from_topic(*_: object) -> AsyncIterator[MetricRow]:
        nonlocal alive, most
        for number in range(50):
            row = CountedRow(START + 60 * number, START + 60 * number + 60, "a", 1, 100, 100)
            alive += 1
            most = max(most, alive)
            yield row

    monkeypatch.setattr(metrics_command, "from_topic", from_topic)
    monkeypatch.setattr(metrics_command, "run_in_kafka", lambda read, *_: asyncio.run(read()))
    [*_, total] = report("--source=topic", "--bootstrap=there:2", "--format=csv", "--by=day").splitlines()
    assert total == "total,,50,50.00,1.00"
    assert most <= 2


async def test_metrics_that_retention_deletes_while_they_are_read_are_no_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reader(nullcontext["Reader"]):
        def __init__(self, _: object) -> None:
            super().__init__(self)

        async def begins(self, _: str) -> Offsets:
            raise OffsetOutOfRangeError({})

    monkeypatch.setattr(sources, "TopicReader", Reader)
    with pytest.raises(PipelineError, match="records were deleted while they were read"):
        await anext(sources.from_topic(KafkaAddress("there:1"), "", Skipped()))
