"""What the sink reads and writes on one connection to PostgreSQL."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
import structlog
from psycopg import errors

from libs.events.product_metrics import MetricRow
from services.sink.database.postgresql.errors import translated_errors
from services.sink.database.postgresql.statements import (
    BEGIN_PARTITION,
    CLEAR,
    INSERT,
    INSERT_NEW,
    MOVE,
    STAY_OWNER,
    TAKE_OVER,
    columns,
)
from services.sink.database.postgresql.transaction import Connection, transaction
from services.sink.database.session import (
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

_ATTEMPTS = 5
_LONG_WRITE_S = 2.0  # a write that takes longer renews the lease once more, at its end


class PostgresqlSession:
    """A ``Session`` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def identity(self) -> Identity | None:
        with translated_errors():
            row = await self._row("select cluster_id, topic from sink_owner")
        return Identity(*row) if row and row[0] is not None else None

    async def take_over(self, owner: str, lease_s: float) -> int | None:
        with translated_errors():
            try:
                row = await self._row(TAKE_OVER, {"owner": owner, "lease_s": lease_s})
            except errors.LockNotAvailable as error:  # the owner has a transaction open
                if await self._row("select owner from sink_owner") == (owner,):
                    raise DatabaseUnavailableError(
                        "an earlier session of this sink has a transaction open; the server ends it once idle for ten seconds"
                    ) from error
                return None
            if row is None and await self._row("select 1 from sink_owner") is None:
                raise OwnerMissingError
        return int(row[0]) if row else None

    async def adopt(self, epoch: int, identity: Identity) -> None:
        with translated_errors():
            cursor = await self._connection.execute(
                "update sink_owner set cluster_id = %s, topic = %s where epoch = %s", [*identity, epoch]
            )
        _require_own(cursor, epoch)

    async def progress(self) -> Mapping[int, Position]:
        with translated_errors():
            cursor = await self._connection.execute("select partition, next_offset, crc32_before from sink_progress")
            return {partition: Position(offset, crc) for partition, offset, crc in await cursor.fetchall()}

    async def write(self, epoch: int, rows: Sequence[MetricRow], moves: Sequence[Move]) -> Sequence[MetricRow]:
        with translated_errors():
            try:
                return await self._committed(lambda: self._write(epoch, rows, moves, self._insert))
            except errors.UniqueViolation:
                return await self._committed(lambda: self._write(epoch, rows, moves, self._insert_new))

    async def renew(self, epoch: int) -> None:
        with translated_errors():
            _require_own(await self._connection.execute(STAY_OWNER, [epoch]), epoch)

    async def release(self, epoch: int) -> None:
        with translated_errors():
            await self._connection.execute("update sink_owner set alive_at = '-infinity' where epoch = %s", [epoch])

    async def clear(self) -> None:
        async def clear() -> None:
            await self._connection.execute(CLEAR)

        with translated_errors():
            try:
                await self._committed(clear)
            except errors.LockNotAvailable as error:
                raise DatabaseUnavailableError(
                    "another transaction uses the sink's tables, and did not end within the time limit",
                    advice="end it (the view pg_stat_activity lists the sessions), or wait for its end, and try again",
                ) from error

    async def window_starts(self) -> tuple[int, int] | None:
        with translated_errors():
            row = await self._row(
                "select extract(epoch from min(window_start)), extract(epoch from max(window_start)) from product_metrics"
            )
        return (int(row[0]), int(row[1])) if row and row[0] is not None else None

    async def size_bytes(self) -> int:
        with translated_errors():
            row = await self._row("select pg_total_relation_size('product_metrics')")
        assert row
        return int(row[0])

    async def close(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            await self._connection.close()

    async def _write(
        self,
        epoch: int,
        rows: Sequence[MetricRow],
        moves: Sequence[Move],
        put: Callable[[Sequence[MetricRow]], Awaitable[Sequence[MetricRow]]],
    ) -> Sequence[MetricRow]:
        began_s = time.monotonic()
        # Lock the owner's row first: a new owner waits for this transaction, or this one sees the new epoch.
        _require_own(await self._connection.execute(STAY_OWNER, [epoch]), epoch)
        known = [(move.partition, move.before, *move.after) for move in moves if move.before is not None]
        begun = [(move.partition, *move.after) for move in moves if move.before is None]
        moved = 0
        for statement, some in ((MOVE, known), (BEGIN_PARTITION, begun)):
            if some:
                moved += (await self._connection.execute(statement, [*map(list, zip(*some, strict=True))])).rowcount
        if moved != len(moves):
            raise ProgressMovedError(f"{len(moves) - moved} partitions do not stand where this sink left them")
        left_out = await put(rows) if rows else ()
        if time.monotonic() - began_s > _LONG_WRITE_S:
            await self._connection.execute(STAY_OWNER, [epoch])  # the lease would be over at the COMMIT, or nearly so
        return left_out

    async def _insert(self, rows: Sequence[MetricRow]) -> Sequence[MetricRow]:
        await self._connection.execute(INSERT, columns(rows))
        return ()

    async def _insert_new(self, rows: Sequence[MetricRow]) -> Sequence[MetricRow]:
        """One statement, however slow the connection; of rows with the same key it inserts the first."""
        cursor = await self._connection.execute(INSERT_NEW, columns(rows))
        inserted = set(await cursor.fetchall())
        left_out = []
        for row in rows:
            key = row.window_start, row.window_end, row.product_id
            if key in inserted:
                inserted.remove(key)
            else:
                left_out.append(row)
        return left_out

    async def _committed(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work``, once it is committed. A transaction that the server has rolled back is repeated."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with transaction(self._connection):
                    return await work()
            except (errors.SerializationFailure, errors.DeadlockDetected) as error:
                if attempt == _ATTEMPTS:
                    raise
                log.info("the database rolled a transaction back, retrying", reason=type(error).__name__)
                await asyncio.sleep(random.uniform(0, 0.05 * attempt))  # noqa: S311 - random, so that two sessions do not collide again
        raise AssertionError("unreachable")

    async def _row(
        self, statement: LiteralString, values: Mapping[str, object] | None = None
    ) -> tuple[Any, ...] | None:
        cursor = await self._connection.execute(statement, values)
        return await cursor.fetchone()


def _require_own(cursor: psycopg.AsyncCursor[tuple[Any, ...]], epoch: int) -> None:
    if cursor.rowcount != 1:
        raise FencedError(f"another sink has taken over the database since epoch {epoch}")
