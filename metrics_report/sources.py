"""Databases and the topic as sources of metrics, as iterators."""

import sqlite3
from collections.abc import AsyncIterator, Iterator

import psycopg
from aiokafka.errors import KafkaError

from libs.events.product_metrics import LAST_SECOND, MetricRow, decode_metric
from libs.events.topics import PRODUCT_METRICS
from libs.read_only_sqlite import read_only
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from metrics_report.skipped import Skipped
from metrics_report.summary import Selection
from services.sink.database.address import Address, PostgresqlAddress, SqliteAddress
from verification.history import History, find_metrics_missing_until_s
from verification.topic_reader import Offsets, Record, TopicReader, reading_failed

_FETCHED_ROWS = 10_000
_POSTGRESQL = """
select extract(epoch from window_start)::bigint, extract(epoch from window_end)::bigint, product_id, order_count,
       (total_revenue * 100)::bigint, (avg_order_value * 100)::bigint
from product_metrics
where window_start >= to_timestamp(%s) and window_start < to_timestamp(%s)
"""


def from_database(address: Address, selection: Selection) -> Iterator[MetricRow]:
    """The rows of the sink's database whose windows begin in the selection's time."""
    try:
        if isinstance(address, SqliteAddress):
            yield from _sqlite(address, selection)
        else:
            yield from _postgresql(address, selection)
    except (sqlite3.Error, psycopg.Error, OSError) as error:
        raise PipelineError(f"{address} cannot be read: {error}", advice="give another --database") from error


def _sqlite(address: SqliteAddress, selection: Selection) -> Iterator[MetricRow]:
    if not address.path.exists():
        raise PipelineError(
            f"there is no database {address.path}",
            advice="SINK_OUTPUTS=file,database makes the sink write one; otherwise give another file, or PostgreSQL: "
            "--database postgresql://user@host/metrics, see docs/database.md",
        )
    with read_only(address.path) as connection:
        statement = "select * from product_metrics where window_start >= ? and window_start < ?"
        yield from map(MetricRow._make, connection.execute(statement, [selection.from_s, selection.to_s]))


def _postgresql(address: PostgresqlAddress, selection: Selection) -> Iterator[MetricRow]:
    password = address.password()
    options = {"password": password} if password is not None else {}
    with (
        psycopg.connect(address.uri, connect_timeout=10, client_encoding="UTF8", **options) as connection,  # type: ignore[arg-type]
        connection.cursor("metrics") as cursor,
    ):
        cursor.itersize = _FETCHED_ROWS
        cursor.execute(_POSTGRESQL, [selection.from_s, min(selection.to_s, LAST_SECOND)])
        yield from map(MetricRow._make, cursor)


async def from_topic(kafka: Kafka, topic_prefix: str, skipped: Skipped) -> AsyncIterator[MetricRow]:
    """The committed records of ``product-metrics``."""
    topic = topic_prefix + PRODUCT_METRICS.name
    try:
        async with TopicReader(kafka) as reader:
            begins, ends = await reader.begins(topic), await reader.settled_ends(topic)
            missing_until_s = await find_metrics_missing_until_s(reader, topic, begins)
            skipped.history = History(metrics_missing_until_s=missing_until_s)
            async for _, row in metrics_between(reader, topic, begins, ends, skipped):
                yield row
    except KafkaError as error:
        raise reading_failed(error) from error


async def metrics_between(
    reader: TopicReader, topic: str, begins: Offsets, ends: Offsets, skipped: Skipped
) -> AsyncIterator[tuple[Record, MetricRow]]:
    """The metrics in the committed records of ``topic`` from ``begins`` (inclusive) to ``ends`` (exclusive), with their records."""
    async for records in reader.read(topic, begins, ends):
        for record in records:
            try:
                row = decode_metric(record.value)
            except ValueError:
                skipped.count += 1
            else:
                yield record, row
