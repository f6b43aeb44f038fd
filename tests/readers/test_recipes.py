"""The recipes of docs/database.md, run while the sink's own writers write: none sees an incomplete metric, or one twice."""

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.events.product_metrics import ProductMetric, encode_metric
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.database_writer import DatabaseWriter
from services.sink.database.session import Identity
from services.sink.file import converter
from services.sink.file.convert import convert
from services.sink.file.disk import Disk
from services.sink.file.file_writer import FileWriter
from services.sink.file.finished_files import finished_files
from services.sink.file.metrics_file import MetricsFile
from services.sink.file.rotate_setting import Rotate
from services.sink.metrics_writer import MetricsWriter
from services.sink.record_batcher import Position
from tests.databases.postgresql import PostgresServer
from tests.integration.services import eventually

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-readers" / "bin" / "python"
NAMES = ("sqlite3", "psql", "pandas, SQLite", "pandas, file", "polars", "duckdb", "duckdb, Parquet")
OF_FILES = ("pandas, file", "polars", "duckdb", "duckdb, Parquet")
RECIPES = dict(
    zip(
        NAMES,
        re.findall(
            r"```(sh|python)\n(.*?)```",
            (ROOT / "docs" / "database.md").read_text().partition("## Recipes")[2],
            re.DOTALL,
        ),
        strict=True,
    )
)
READS = 2

# More amounts in whole dollars than a reader samples to infer the type of a column.
WHOLE_DOLLARS = 21_000


def metric(number: int) -> ProductMetric:
    cents = 500 if number < WHOLE_DOLLARS else 1000 + number % 89
    return ProductMetric(60 * number, 60 * number + 60, f"prod-{number % 5}", 1, cents)


class ContinuousWriter:
    """The content of the output: at least the first ``count`` metrics."""

    def __init__(self, writer: MetricsWriter[Any]) -> None:
        self._writer = writer
        self.count = 0

    async def write(self, count: int) -> None:
        values = [encode_metric(metric(self.count + number)) for number in range(count)]
        await self._writer.write(self._writer.parse(values), {0: Position(self.count + count, 0)})
        self.count += count

    async def keep_writing(self) -> None:
        while True:
            await self.write(7)
            await asyncio.sleep(0.002)  # some hundred writes during a read; more would only take the reader's CPU time


@asynccontextmanager
async def continuous_writer(writer: MetricsWriter[Any]) -> AsyncIterator[ContinuousWriter]:
    """Metrics that keep arriving."""
    assert await writer.acquire()
    await writer.open("cluster")
    written = ContinuousWriter(writer)
    await written.write(WHOLE_DOLLARS)
    writing = asyncio.create_task(written.keep_writing())
    try:
        yield written
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await writer.close()


def totals() -> "itertools.accumulate[int]":
    """The cents of the first 0, 1, 2, ... metrics."""
    return itertools.accumulate((metric(number).revenue_cents for number in itertools.count()), initial=0)


async def read(folder: Path, command: Sequence[str | Path]) -> tuple[int, int]:
    """The count and the cents that a recipe prints."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return counted(output.decode())


def counted(line: str) -> tuple[int, int]:
    """The count and the cents in a printed line, parsed by removing the decimal point of the amount."""
    numbers = re.split(r"[ |]", line.strip())
    assert len(numbers) == 2, f"printed: {line!r}"
    count, total = numbers
    return int(count), int(total.replace(".", ""))


def command_of(name: str, url: str = "") -> list[str | Path]:
    language, code = RECIPES[name]
    if language == "sh":
        if shutil.which(name) is None:
            missing(f"{name} is not installed")
        return ["sh", "-c", code.replace("postgresql://analyst@localhost:5432/metrics", url)]
    if not PYTHON.exists():
        missing("the readers are not installed: `make readers`")
    return [PYTHON, "-c", code]


def missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


async def assert_never_wrong(folder: Path, command: Sequence[str | Path], written: ContinuousWriter) -> None:
    for _ in range(READS):
        least = written.count
        count, cents = await read(folder, command)
        assert least <= count <= written.count + 7, "all metrics that were written before, and none twice"
        assert cents == next(itertools.islice(totals(), count, None))


@pytest.mark.parametrize("name", OF_FILES)
async def test_the_file_is_readable_while_it_grows(name: str, tmp_path: Path) -> None:
    writer = FileWriter(MetricsFile(tmp_path / "output" / "metrics.json", "product-metrics"))
    command = command_of(name)
    async with continuous_writer(writer) as written:
        await assert_never_wrong(tmp_path, command, written)


@pytest.mark.parametrize("name", OF_FILES)
async def test_files_of_other_sinks_in_the_folder_are_not_read(name: str, tmp_path: Path) -> None:
    command = command_of(name)
    (folder := tmp_path / "output").mkdir()
    span = "1970-01-01T00-01Z--1970-01-01T00-01Z"
    files = {
        "metrics.json": metric(0),
        f"metrics-{span}.json": metric(1),
        f"metrics-{span}.2.json": metric(2),
        "metrics-eu.json": metric(0)._replace(revenue_cents=7),
        "metrics-2.json": metric(1)._replace(revenue_cents=7),
        f"metrics-eu-{span}.json": metric(2)._replace(revenue_cents=7),
        f"metrics-2-{span}.json": metric(2)._replace(revenue_cents=9),
    }
    for file, line in files.items():
        (folder / file).write_bytes(encode_metric(line) + b"\n")
    for number, target in enumerate(("metrics-eu.json.gz", "metrics-eu.parquet", f"metrics-2-{span}.parquet")):
        (lines := tmp_path / "lines").write_bytes(encode_metric(metric(3)._replace(revenue_cents=number)) + b"\n")
        convert(lines, folder / target, Disk())
    assert await read(tmp_path, command) == (3, sum(metric(number).revenue_cents for number in range(3)))


async def test_the_recipe_for_parquet_reads_finished_files_of_all_formats(tmp_path: Path) -> None:
    """As they are after SINK_ROTATED_FORMAT has changed."""
    command = command_of("duckdb, Parquet")
    (folder := tmp_path / "output").mkdir()
    names = ["metrics.json", *(f"metrics-1970-01-01T00-0{number}Z--1970-01-01T00-0{number}Z.json" for number in "123")]
    for number, name in enumerate(names):
        (folder / name).write_bytes(encode_metric(metric(number)) + b"\n")
    for name, target in ((names[2], f"{names[2]}.gz"), (names[3], names[3].replace(".json", ".parquet"))):
        convert(folder / name, folder / target, Disk())
        (folder / name).unlink()
    assert await read(tmp_path, command) == (4, sum(metric(number).revenue_cents for number in range(4)))


@pytest.mark.parametrize("name", OF_FILES)
async def test_the_files_are_readable_while_they_are_rotated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "_LOOK_EVERY_S", 0.1)
    command = command_of(name)
    path = tmp_path / "output" / "metrics.json"
    file = MetricsFile(path, "product-metrics", rotate=Rotate(size_bytes=200_000))
    target_format = "parquet" if "Parquet" in name else "gzip"
    async with continuous_writer(FileWriter(file, converter.Converter(path, target_format))) as written:
        await eventually(lambda: any(each.is_converted for each in finished_files(path)))
        before = len(list(finished_files(path)))
        while len(list(finished_files(path))) <= before:  # until some files were rotated or converted meanwhile
            await assert_never_wrong(tmp_path, command, written)


@pytest.mark.parametrize("name", OF_FILES)
def test_an_incomplete_last_line_is_ignored(name: str, tmp_path: Path) -> None:
    python, option, recipe = map(str, command_of(name))
    complete_lines = b"".join(
        encode_metric(metric(number)) + b"\n" for number in range(WHOLE_DOLLARS, WHOLE_DOLLARS + 3)
    )
    cents = sum(metric(number).revenue_cents for number in range(WHOLE_DOLLARS, WHOLE_DOLLARS + 3))
    lengths = (1, 50, len(encode_metric(metric(0))) - 1)
    code = ["import os"]
    for length in lengths:
        path = tmp_path / f"{length}" / "output" / "metrics.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(complete_lines + encode_metric(metric(0))[:length])
        code += [f"os.chdir('{path.parent.parent}')", recipe]
        code += [f"duckdb.sql('drop table {table}')" for table in re.findall(r"create table (\w+)", recipe)]
    printed = subprocess.check_output([python, option, "\n".join(code)], text=True)
    assert [counted(line) for line in printed.splitlines()] == [(3, cents)] * len(lengths)


@pytest.mark.parametrize("name", [name for name in OF_FILES if "duckdb" in name])
def test_a_slow_query_prints_no_progress_bar(name: str, tmp_path: Path) -> None:
    path = tmp_path / "output" / "metrics.json"
    path.parent.mkdir()
    path.write_bytes(encode_metric(metric(0)) + b"\n")
    python, option, code = command_of(name)
    its_bar = "print(*duckdb.sql(\"select current_setting('enable_progress_bar')\").fetchall()[0])"
    printed = subprocess.check_output([python, option, f"{code}\n{its_bar}"], cwd=tmp_path, text=True)
    assert printed == "1 5.00\nFalse\n"


@pytest.mark.parametrize("name", OF_FILES)
async def test_product_ids_that_look_like_numbers_stay_different(name: str, tmp_path: Path) -> None:
    path = tmp_path / "output" / "metrics.json"
    path.parent.mkdir()
    metrics = [ProductMetric(0, 60, product_id, 1, 500) for product_id in ("12", "012", "12.0", "1_2")]
    path.write_bytes(b"".join(encode_metric(each) + b"\n" for each in metrics))
    assert await read(tmp_path, command_of(name)) == (4, 2000)


@pytest.mark.parametrize("name", ["sqlite3", "pandas, SQLite"])
async def test_sqlite_is_readable_while_it_grows(name: str, tmp_path: Path) -> None:
    database = database_at(parse_address(f"sqlite:///{tmp_path}/output/metrics.db"))
    command = command_of(name)
    async with continuous_writer(DatabaseWriter(database, Identity("cluster", "topic"), asyncio.Event())) as written:
        await assert_never_wrong(tmp_path, command, written)


# Writes a hundred metrics into the database at argv[1], and is killed.
KILLED_WRITER = """
import asyncio, os, signal, sys
from libs.events.product_metrics import MetricRow
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.session import Move
from services.sink.record_batcher import Position

async def write():
    session = await database_at(parse_address(sys.argv[1])).connect()
    epoch = await session.take_over("sink", 10)
    rows = [MetricRow(60 * number, 60 * number + 60, "a", 1, 5, 5) for number in range(100)]
    await session.write(epoch, rows, [Move(0, None, Position(100, 0))])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(write())
"""


@pytest.mark.parametrize("name", ["sqlite3", "pandas, SQLite"])
async def test_sqlite_is_readable_after_the_sink_was_killed(name: str, tmp_path: Path) -> None:
    """Its metrics are still in the -wal file, which immutable=1 ignores."""
    command = command_of(name)
    path = tmp_path / "output" / "metrics.db"
    arguments = ["-c", KILLED_WRITER, f"sqlite:///{path}"]
    writer = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    assert await writer.wait() == -signal.SIGKILL
    assert path.with_name("metrics.db-wal").exists()
    immutable = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    with contextlib.closing(immutable), pytest.raises(sqlite3.OperationalError, match="no such table"):
        immutable.execute("select * from product_metrics")
    path.parent.chmod(0o555)  # no right to write there, unless the tests run as root
    try:
        assert await read(tmp_path, command) == (100, 500)
    finally:
        path.parent.chmod(0o755)


async def test_postgresql_is_readable_while_it_grows(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_database("recipes")
    command = command_of("psql", url)
    database = database_at(parse_address(url))
    async with continuous_writer(DatabaseWriter(database, Identity("cluster", "topic"), asyncio.Event())) as written:
        await assert_never_wrong(tmp_path, command, written)
