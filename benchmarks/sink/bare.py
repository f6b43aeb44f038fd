"""The bare calls that the sink is compared with: they write the same rows in transactions of the same size."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from benchmarks.sink.copy_text import copy_text
from libs.events.product_metrics import MetricRow
from services.sink.database.schema import migrations


def batches(rows: Sequence[MetricRow], size: int) -> Iterator[Sequence[MetricRow]]:
    """``rows`` in chunks of ``size``."""
    return (rows[at : at + size] for at in range(0, len(rows), size))


def copy_seconds(url: str, rows: Sequence[MetricRow], size: int) -> float:
    """The time for COPY of prepared text into the sink's table, ``size`` rows a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for migration in migrations("postgresql"):
            connection.execute(migration.statements.encode())
        texts = [copy_text(batch) for batch in batches(rows, size)]
        began_s = time.perf_counter()
        for text in texts:
            with connection.transaction(), connection.cursor().copy("copy product_metrics from stdin") as copy:
                copy.write(text)
        return time.perf_counter() - began_s


def executemany_seconds(path: Path, rows: Sequence[MetricRow], size: int) -> float:
    """The time for ``executemany`` into the sink's table, with the sink's durability, ``size`` rows a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    for migration in migrations("sqlite"):
        connection.executescript(migration.statements)
    began_s = time.perf_counter()
    for batch in batches(rows, size):
        connection.execute("begin immediate")
        connection.executemany("insert into product_metrics values (?, ?, ?, ?, ?, ?)", batch)
        connection.execute("commit")
    seconds = time.perf_counter() - began_s
    connection.close()
    return seconds
