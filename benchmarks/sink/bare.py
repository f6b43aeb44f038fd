"""The bare calls that the sink is measured against: the same rows, in transactions of the same size, and nothing else."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from libs.events.product_metrics import MetricRow
from services.sink.database.copy_text import copy_text
from services.sink.database.schema import migrations

BATCH_ROWS = 5000


def batches(rows: Sequence[MetricRow]) -> Iterator[Sequence[MetricRow]]:
    """``rows`` in pieces of ``BATCH_ROWS``."""
    return (rows[at : at + BATCH_ROWS] for at in range(0, len(rows), BATCH_ROWS))


def copy_seconds(url: str, rows: Sequence[MetricRow]) -> float:
    """COPY of text that is ready, into the sink's own table."""
    with psycopg.connect(url, autocommit=True) as connection:
        for migration in migrations("postgresql"):
            connection.execute(migration.statements.encode())
        texts = [copy_text(batch) for batch in batches(rows)]
        began_s = time.perf_counter()
        for text in texts:
            with connection.transaction(), connection.cursor().copy("copy product_metrics from stdin") as copy:
                copy.write(text)
        return time.perf_counter() - began_s


def executemany_seconds(path: Path, rows: Sequence[MetricRow]) -> float:
    """``executemany`` into the sink's own table, as durable as the sink writes it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    for migration in migrations("sqlite"):
        connection.executescript(migration.statements)
    began_s = time.perf_counter()
    for batch in batches(rows):
        connection.execute("begin immediate")
        connection.executemany("insert into product_metrics values (?, ?, ?, ?, ?, ?)", batch)
        connection.execute("commit")
    seconds = time.perf_counter() - began_s
    connection.close()
    return seconds
