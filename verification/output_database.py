"""Reads the sink's database: one metric a row, without code of the sink."""

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import psycopg

from libs.read_only_sqlite import read_only
from libs.runtime.errors import PipelineError
from libs.runtime.secret import read_secret_file
from verification.metrics import Metric
from verification.output_damage import OutputDamage
from verification.report import Damage, Report

ROWS = OutputDamage(Damage.ROW_MISSING, Damage.ROW_DUPLICATED, Damage.ROW_UNEXPECTED, Damage.ROW_BEHIND)

_POSTGRESQL_ROWS = """
select extract(epoch from window_start), extract(epoch from window_end), product_id, order_count,
       total_revenue * 100, avg_order_value * 100
from product_metrics
where window_start >= to_timestamp(%s)
"""
_FETCHED_ROWS = 10_000

Row = tuple[Decimal | int, Decimal | int, str, int, Decimal | int, Decimal | int]


class OutputDatabase(NamedTuple):
    """SINK_DATABASE_URL and SINK_DATABASE_PASSWORD_FILE."""

    url: str
    password_file: Path | None = None


def read_rows(
    database: OutputDatabase, window_seconds: int, report: Report | None = None, since_s: float = -math.inf
) -> Counter[Metric]:
    """The metrics in the database, none if the sink has not created it yet; invalid rows are reported.

    Windows that end before ``since_s`` are skipped.

    Raises:
        PipelineError: the database cannot be read.
    """
    rows: Counter[Metric] = Counter()
    try:
        read = _sqlite if database.url.startswith("sqlite:///") else _postgresql
        for row in read(database, since_s - window_seconds):
            metric = metric_of_row(row, window_seconds)
            if metric is not None:
                rows[metric] += 1
            elif report:
                report.found(Damage.ROW_MALFORMED, f"{row}")
    except (sqlite3.Error, psycopg.Error, OSError) as error:
        raise PipelineError(
            f"the sink's database cannot be read: {error}", advice="start it, or give another --database"
        ) from error
    return rows


def metric_of_row(row: Row, window_seconds: int) -> Metric | None:
    """The metric of a row, amounts in cents; None if its window is not one of ``window_seconds``, or a number is not whole."""
    start, end, product_id, count, revenue, average = row
    whole = [int(each) for each in (start, end, count, revenue, average)]
    if whole != [start, end, count, revenue, average] or start % window_seconds or end != start + window_seconds:
        return None
    return Metric(whole[0], whole[1], product_id, whole[2], whole[3], whole[4])


def _sqlite(database: OutputDatabase, starts_since_s: float) -> Iterator[Row]:
    path = Path(unquote(database.url.removeprefix("sqlite:///")))
    if not path.exists():
        return
    with read_only(path) as connection:
        if connection.execute("select 1 from sqlite_master where name = 'product_metrics'").fetchone():
            yield from connection.execute("select * from product_metrics where window_start >= ?", [starts_since_s])


def _postgresql(database: OutputDatabase, starts_since_s: float) -> Iterator[Row]:
    options = (
        {"password": read_secret_file("SINK_DATABASE_PASSWORD", database.password_file)}
        if database.password_file
        else {}
    )
    with psycopg.connect(database.url, connect_timeout=10, client_encoding="UTF8", **options) as connection:  # type: ignore[arg-type]
        known = connection.execute("select to_regclass('product_metrics') is not null").fetchone()
        if known == (True,):
            with connection.cursor("rows") as cursor:
                cursor.itersize = _FETCHED_ROWS
                yield from cursor.execute(_POSTGRESQL_ROWS, [starts_since_s])
