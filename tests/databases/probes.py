"""Reads databases directly by their drivers, without code of the sink."""

import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import psycopg

from libs.events.product_metrics import MetricRow
from services.sink.database.address import SqliteAddress, parse_address
from services.sink.database.connecting import database_at
from services.sink.database.postgresql.database import PostgresqlDatabase
from services.sink.database.schema import Migration
from services.sink.database.session import Database, Session
from services.sink.database.sqlite import SqliteDatabase


class Probe(ABC):
    """A database of one test."""

    dialect: str
    url: str

    def database(self) -> Database:
        """The database as the sink opens it."""
        return database_at(parse_address(self.url))

    async def session(self) -> Session:
        return await self.database().connect()

    @abstractmethod
    def database_with(self, known: list[Migration]) -> Database:
        """The database as a sink with these migrations opens it."""

    @abstractmethod
    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows that a statement returns, committed."""

    @abstractmethod
    def rows(self) -> list[MetricRow]:
        """All metrics, ordered by primary key."""

    @abstractmethod
    def expire(self) -> None:
        """Let the owner's lease expire."""

    @abstractmethod
    def clock_set_back(self) -> None:
        """Let the owner's last sign of life be an hour ahead of the database's clock."""

    def progress(self) -> dict[int, int]:
        """The next offset of each partition."""
        return dict(self.query("select partition, next_offset from sink_progress"))


class SqliteProbe(Probe):
    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def database_with(self, known: list[Migration]) -> Database:
        return SqliteDatabase(SqliteAddress(self.path), known)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def rows(self) -> list[MetricRow]:
        return [MetricRow(*row) for row in self.query("select * from product_metrics order by 1, 3, 2")]

    def expire(self) -> None:
        self.query("update sink_owner set alive_at_s = alive_at_s - 60")

    def clock_set_back(self) -> None:
        self.query("update sink_owner set alive_at_s = alive_at_s + 3600")


class PostgresqlProbe(Probe):
    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url

    def database_with(self, known: list[Migration]) -> Database:
        address = parse_address(self.url)
        assert not isinstance(address, SqliteAddress)
        return PostgresqlDatabase(address, known)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> list[MetricRow]:
        return [
            MetricRow(int(start), int(end), product_id, count, int(revenue), int(average))
            for start, end, product_id, count, revenue, average in self.query(
                "select extract(epoch from window_start), extract(epoch from window_end), product_id, order_count, "
                "total_revenue * 100, avg_order_value * 100 from product_metrics "
                'order by window_start, product_id collate "C", window_end'
            )
        ]

    def expire(self) -> None:
        self.query("update sink_owner set alive_at = alive_at - interval '1 minute'")

    def clock_set_back(self) -> None:
        self.query("update sink_owner set alive_at = alive_at + interval '1 hour'")
