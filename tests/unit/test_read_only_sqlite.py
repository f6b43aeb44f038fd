"""Reading a SQLite database that the sink writes, also without the right to write in its folder."""

import contextlib
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.events.product_metrics import MetricRow
from libs.read_only_sqlite import read_only
from libs.runtime.errors import PipelineError
from metrics_report.sources import from_database
from metrics_report.summary import Selection
from services.sink.database.address import SqliteAddress
from verification.metrics import Metric
from verification.output_database import OutputDatabase, read_rows

READER = 12_345
ROW = MetricRow(60, 120, "a", 2, 1050, 525)


@pytest.fixture
def path() -> Iterator[Path]:
    """A database in WAL mode with one row, closed, in a folder in which only its owner may write."""
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to other users
        path = Path(name) / "metrics.db"
        with written(path) as connection:
            connection.execute(f"create table product_metrics ({', '.join(MetricRow._fields)})")
            connection.execute("insert into product_metrics values (?, ?, ?, ?, ?, ?)", ROW)
        assert [each.name for each in path.parent.iterdir()] == ["metrics.db"]
        path.parent.chmod(0o555)
        yield path
        path.parent.chmod(0o755)


def written(path: Path) -> contextlib.closing[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    return contextlib.closing(connection)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Root may write everywhere, so it becomes another user."""
    if os.geteuid():
        yield
        return
    os.seteuid(READER)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_reader_without_rights_reads_it_while_the_sink_is_stopped(path: Path) -> None:
    with without_rights():
        assert list(from_database(SqliteAddress(path), Selection())) == [ROW]
        assert read_rows(OutputDatabase(f"sqlite:///{path}"), 60) == Counter([Metric(*ROW)])


def test_a_reader_without_rights_notices_a_sink_that_starts(path: Path) -> None:
    reading = contextlib.ExitStack()
    with without_rights():
        connection = reading.enter_context(read_only(path))
        assert connection.execute("select * from product_metrics").fetchall() == [ROW]
    path.parent.chmod(0o755)
    path.with_name("metrics.db-wal").touch()
    with pytest.raises(PipelineError, match="while it was read"):
        reading.close()


def test_new_rows_of_a_running_sink_are_read_through_a_link(path: Path) -> None:
    path.parent.chmod(0o755)
    with tempfile.TemporaryDirectory() as name, written(path) as connection:
        connection.execute("insert into product_metrics values (?, ?, ?, ?, ?, ?)", ROW)
        link = Path(name) / "metrics.db"
        link.symlink_to(path)
        link.parent.chmod(0o555)
        with without_rights():
            assert list(from_database(SqliteAddress(link), Selection())) == [ROW, ROW]
        link.parent.chmod(0o755)
