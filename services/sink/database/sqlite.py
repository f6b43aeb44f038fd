"""A SQLite file as a ``Database``, by the standard library.

The connection is in autocommit mode, and each transaction begins with an explicit BEGIN IMMEDIATE, so that data read in it
cannot change before the write. Calls block, for ``_BUSY_S`` at most, and are made in threads.
"""

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from libs.events.product_metrics import MetricRow
from services.sink.database.address import SqliteAddress
from services.sink.database.schema import Migration, migrations, pending
from services.sink.database.session import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    FencedError,
    Identity,
    Move,
    OwnerMissingError,
    ProgressMovedError,
)
from services.sink.record_batcher import Position

log = structlog.get_logger()
T = TypeVar("T")

_BUSY_S = 5.0
_HOPELESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
_NO_USE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}

_STAY_OWNER = "update sink_owner set alive_at_s = ? where epoch = ?"
_PUT = "insert into product_metrics values (?, ?, ?, ?, ?, ?)"


class SqliteDatabase:
    """The file at ``address``, which is created if it is missing."""

    def __init__(self, address: SqliteAddress, known: Sequence[Migration] | None = None) -> None:
        self._address = address
        self._migrations = migrations("sqlite") if known is None else known

    def __str__(self) -> str:
        return str(self._address)

    async def connect(self) -> "SqliteSession":
        return await asyncio.to_thread(self._connect)

    def _connect(self) -> "SqliteSession":
        path = self._address.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite's error does not say why a file cannot be opened.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            if error.errno not in _HOPELESS:
                raise DatabaseUnavailableError(str(error)) from error
            raise DatabaseRefusedError(
                f"SINK_DATABASE_URL={self._address} cannot be written: {error}",
                advice="choose another path, or give this user the right to write there",
            ) from error
        with _translated_errors():
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        session = SqliteSession(connection, path)
        try:
            with _translated_errors():
                connection.execute("pragma journal_mode = wal")  # readers do not block the sink, nor the sink readers
                connection.execute("pragma synchronous = full")
                _migrate(connection, self._migrations)
        except BaseException:
            connection.close()
            raise
        return session


class SqliteSession:
    """A ``Session`` on one connection to the file at ``path``."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._file = path.stat()
        # A call that is no longer awaited may still be running when the connection is closed.
        self._in_use = threading.Lock()

    async def identity(self) -> Identity | None:
        def read() -> Identity | None:
            row = self._connection.execute("select cluster_id, topic from sink_owner").fetchone()
            return Identity(*row) if row and row[0] is not None else None

        return await self._run(read)

    async def take_over(self, owner: str, lease_s: float) -> int | None:
        def take() -> int | None:
            now_s = time.time()
            row = self._connection.execute(
                "update sink_owner set epoch = epoch + 1, owner = ?, alive_at_s = ? "
                "where owner = ? or alive_at_s not between ? and ? returning epoch",
                [owner, now_s, owner, now_s - lease_s, now_s + lease_s],
            ).fetchone()
            if row is None and self._connection.execute("select 1 from sink_owner").fetchone() is None:
                raise OwnerMissingError
            return row and int(row[0])

        return await self._in_transaction(take)

    async def adopt(self, epoch: int, identity: Identity) -> None:
        await self._update("update sink_owner set cluster_id = ?, topic = ? where epoch = ?", [*identity, epoch], epoch)

    async def progress(self) -> Mapping[int, Position]:
        def read() -> dict[int, Position]:
            rows = self._connection.execute("select partition, next_offset, crc32_before from sink_progress")
            return {partition: Position(offset, crc) for partition, offset, crc in rows}

        return await self._run(read)

    async def write(self, epoch: int, rows: Sequence[MetricRow], moves: Sequence[Move]) -> Sequence[MetricRow]:
        def write(put: Callable[[Sequence[MetricRow]], Sequence[MetricRow]]) -> Sequence[MetricRow]:
            self._require_own(self._connection.execute(_STAY_OWNER, [time.time(), epoch]), epoch)
            for move in moves:
                self._move(move)
            left_out = put(rows)
            self._connection.execute(_STAY_OWNER, [time.time(), epoch])  # the rows may have taken as long as the lease
            return left_out

        try:
            return await self._in_transaction(lambda: write(self._put_all))
        except _TakenError:
            return await self._in_transaction(lambda: write(self._put_each))

    async def renew(self, epoch: int) -> None:
        await self._update(_STAY_OWNER, [time.time(), epoch], epoch)

    async def release(self, epoch: int) -> None:
        with contextlib.suppress(FencedError):
            await self._update(_STAY_OWNER, [0, epoch], epoch)

    async def clear(self) -> None:
        def clear() -> None:
            for statement in (
                "insert or ignore into sink_owner default values",
                "delete from product_metrics",
                "delete from sink_progress",
                "update sink_owner set cluster_id = null, topic = null, epoch = epoch + 1, owner = '', alive_at_s = 0",
            ):
                self._connection.execute(statement)

        await self._in_transaction(clear)

    async def window_starts(self) -> tuple[int, int] | None:
        def read() -> tuple[int, int] | None:
            # Each by itself: SQLite takes one of them from the index, and reads all rows for both.
            of_key = "select (select min(window_start) from product_metrics), (select max(window_start) from product_metrics)"
            oldest, newest = self._connection.execute(of_key).fetchone()
            return None if oldest is None else (oldest, newest)

        return await self._run(read)

    async def size_bytes(self) -> int:
        def read() -> int:
            (pages,) = self._connection.execute("pragma page_count").fetchone()
            (page_bytes,) = self._connection.execute("pragma page_size").fetchone()
            return int(pages) * int(page_bytes)

        return await self._run(read)

    async def close(self) -> None:
        def close() -> None:
            with self._in_use, contextlib.suppress(sqlite3.Error):
                self._connection.close()

        await asyncio.to_thread(close)

    async def _run(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with self._in_use, _translated_errors():
                self._require_same_file()
                return work()

        return await asyncio.to_thread(run)

    async def _in_transaction(self, work: Callable[[], T]) -> T:
        def run() -> T:
            self._connection.execute("begin immediate")
            try:
                result = work()
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise
            return result

        return await self._run(run)

    async def _update(self, statement: str, values: Sequence[object], epoch: int) -> None:
        await self._in_transaction(lambda: self._require_own(self._connection.execute(statement, values), epoch))

    def _move(self, move: Move) -> None:
        if move.before is None:
            cursor = self._connection.execute(
                "insert into sink_progress values (?, ?, ?) on conflict do nothing", [move.partition, *move.after]
            )
        else:
            cursor = self._connection.execute(
                "update sink_progress set next_offset = ?, crc32_before = ? where partition = ? and next_offset = ?",
                [*move.after, move.partition, move.before],
            )
        if cursor.rowcount != 1:
            raise ProgressMovedError(f"partition {move.partition} does not stand where this sink left it")

    def _put_all(self, rows: Sequence[MetricRow]) -> Sequence[MetricRow]:
        try:
            self._connection.executemany(_PUT, rows)
        except sqlite3.IntegrityError as error:
            raise _TakenError from error
        return ()

    def _put_each(self, rows: Sequence[MetricRow]) -> Sequence[MetricRow]:
        statement = f"{_PUT} on conflict do nothing"
        return [row for row in rows if not self._connection.execute(statement, row).rowcount]

    def _require_same_file(self) -> None:
        """Raise if the file was deleted or replaced: SQLite would continue to write into the old one."""
        try:
            same = os.path.samestat(self._file, self._path.stat())
        except FileNotFoundError:
            same = False
        if not same:
            raise ProgressMovedError(f"{self._path} was deleted or replaced")

    @staticmethod
    def _require_own(cursor: sqlite3.Cursor, epoch: int) -> None:
        if cursor.rowcount != 1:
            raise FencedError(f"another sink has taken over the database since epoch {epoch}")


class _TakenError(Exception):
    """The products and windows of some rows are already in the table."""


def _migrate(connection: sqlite3.Connection, known: Sequence[Migration]) -> None:
    connection.execute("begin immediate")
    try:
        (version,) = connection.execute("pragma user_version").fetchone()
        for migration in pending(known, version):
            for statement in _statements(migration.statements):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {migration.version}")
            log.info("database schema migrated", version=migration.version)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, to execute one by one: ``executescript`` would commit the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # Errors of the module itself have no code. SQLITE_ERROR means that a statement does not match the tables.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_USE:
            raise DatabaseRefusedError(
                f"the file is not the sink's database, or a damaged one: {error}",
                advice="put it aside, or give another SINK_DATABASE_URL",
            ) from error
        raise DatabaseUnavailableError(str(error)) from error
    except OSError as error:
        raise DatabaseUnavailableError(str(error)) from error
