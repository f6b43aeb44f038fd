"""Databases that are not in UTF-8, such as those of a cluster that was made with the locale C."""

import psycopg
import pytest

from libs.events.product_metrics import MetricRow
from metrics_report.sources import from_database
from metrics_report.summary import Selection
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.session import DatabaseRefusedError, Identity, Move
from services.sink.record_batcher import Position
from tests.databases.postgresql import PostgresServer
from verification.metrics import Metric
from verification.output_database import OutputDatabase, read_rows

IDENTITY = Identity("here", "product-metrics")


def create_database(postgres: PostgresServer, encoding: str) -> str:
    """Create a database with this encoding; returns its URL."""
    name = f"in_{encoding.lower()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0".encode())
    return postgres.url(name)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
async def test_a_product_id_is_read_as_it_was_written(postgres: PostgresServer, encoding: str) -> None:
    url = create_database(postgres, encoding)
    rows = [MetricRow(60, 120, "café", 2, 300, 150), MetricRow(60, 120, "prod-1", 1, 100, 100)]
    session = await database_at(parse_address(url)).connect()
    try:
        epoch = await session.take_over("first", 10)
        assert epoch is not None
        await session.adopt(epoch, IDENTITY)
        assert await session.identity() == IDENTITY
        await session.write(epoch, rows, [Move(0, None, Position(2, 0))])
        again = MetricRow(120, 180, "café", 2, 300, 150)
        assert await session.write(epoch, [*rows, again], [Move(0, 2, Position(5, 0))]) == rows
    finally:
        await session.close()
    assert sorted(from_database(parse_address(url), Selection())) == sorted([*rows, again])
    assert read_rows(OutputDatabase(url), 60) == dict.fromkeys(map(Metric._make, [*rows, again]), 1)


async def test_a_product_id_that_the_encoding_lacks_is_refused(postgres: PostgresServer) -> None:
    session = await database_at(parse_address(create_database(postgres, "LATIN2"))).connect()
    try:
        epoch = await session.take_over("first", 10)
        assert epoch is not None
        with pytest.raises(DatabaseRefusedError, match="LATIN2") as refused:
            await session.write(epoch, [MetricRow(60, 120, "шапка", 2, 300, 150)], [Move(0, None, Position(2, 0))])
        assert "UTF8" in refused.value.advice
    finally:
        await session.close()
