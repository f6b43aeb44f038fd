"""PostgreSQL as a ``Database``, by psycopg.

Connections are in autocommit mode, and each transaction has an explicit BEGIN and COMMIT. Without autocommit any SELECT opens
a transaction that is not committed, and psycopg's transaction() is then a savepoint in it.

The driver puts the parameters into the statements, and each statement is a single message of the simple query protocol. A sink
that is suspended in a write keeps a lock on the owner's row until the server ends its session, and the server does that only
while it waits for the next such message. None of its timeouts ends a session that stops in the middle of a COPY, or of the
messages that pass parameters separately (PostgreSQL 15; tests/databases/test_suspended_owner.py). Nor is a statement
prepared on the server: a prepared one keeps failing once another session has changed a table.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import orjson
import psycopg
import structlog
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from libs.events.product_metrics import MetricRow
from libs.runtime.errors import PipelineError
from services.sink.database.address import PostgresqlAddress
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
from services.sink.topic_reader import Position

log = structlog.get_logger()
T = TypeVar("T")
_REFUSALS = (
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.DuplicateTable,
)
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_ATTEMPTS = 5
_LONG_WRITE_S = 2.0  # a write that takes longer renews the lease once more, at its end
_MIGRATION_LOCK = 5_283_660_126_478_137  # an arbitrary number, the same in every sink

# Defaults for libpq, unless the address has its own.
_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "order-pipeline-sink",
    "target_session_attrs": "read-write",  # of several hosts, the primary: a former one may accept connections
}
_SESSION = """
set idle_in_transaction_session_timeout = '10s';
set statement_timeout = '30s';
set lock_timeout = '5s';
set time zone 'UTC'
"""

# "create table if not exists" needs the right to create tables, and looks only into the schema that comes first.
_SCHEMA_OF_TABLES = "select relnamespace::regnamespace::text from pg_class where oid = to_regclass('sink_schema')"

_TAKE_OVER = """
update sink_owner set epoch = epoch + 1, owner = %(owner)s, alive_at = clock_timestamp()
where owner = %(owner)s or alive_at not between clock_timestamp() - make_interval(secs => %(lease_s)s)
    and clock_timestamp() + make_interval(secs => %(lease_s)s)
returning epoch
"""
_STAY_OWNER = "update sink_owner set alive_at = clock_timestamp() where epoch = %s"
_MOVE = """
update sink_progress as progress set next_offset = move.after, crc32_before = move.crc32
from unnest(%s::integer[], %s::bigint[], %s::bigint[], %s::bigint[]) as move (partition, before, after, crc32)
where progress.partition = move.partition and progress.next_offset = move.before
"""
_BEGIN_PARTITION = """
insert into sink_progress (partition, next_offset, crc32_before)
select * from unnest(%s::integer[], %s::bigint[], %s::bigint[]) on conflict do nothing
"""
_INSERT = """
insert into product_metrics
select to_timestamp(window_start), to_timestamp(window_end), product_id, order_count, revenue_cents * 0.01, average_cents * 0.01
from unnest(
    %s::bigint[], %s::bigint[], array(select json_array_elements_text(%s::json)), %s::bigint[], %s::bigint[], %s::bigint[]
) as metric (window_start, window_end, product_id, order_count, revenue_cents, average_cents)
"""
_INSERT_NEW = f"""{_INSERT}
on conflict do nothing
returning extract(epoch from window_start)::bigint, extract(epoch from window_end)::bigint, product_id
"""
_CLEAR = """
insert into sink_owner default values on conflict do nothing;
truncate product_metrics, sink_progress;
update sink_owner set cluster_id = null, topic = null, epoch = epoch + 1, owner = '', alive_at = '-infinity'
"""


class PostgresqlDatabase:
    """The database at ``address``."""

    def __init__(self, address: PostgresqlAddress, known: Sequence[Migration] | None = None) -> None:
        self._address = address
        self._migrations = migrations("postgresql") if known is None else known

    def __str__(self) -> str:
        return str(self._address)

    async def connect(self) -> "PostgresqlSession":
        given = conninfo_to_dict(self._address.uri)
        options: dict[str, Any] = {name: value for name, value in _DEFAULTS.items() if name not in given}
        # Without it the database's own encoding counts: COPY's UTF-8 would be read as LATIN1, and text from SQL_ASCII is bytes.
        options["client_encoding"] = "UTF8"
        try:
            if (password := self._address.password()) is not None:
                options["password"] = password
        except PipelineError as error:  # the file may be written later
            raise DatabaseUnavailableError(str(error), advice=error.advice) from None
        with _as_our_errors():
            connection = await psycopg.AsyncConnection.connect(
                self._address.uri,
                autocommit=True,
                cursor_factory=psycopg.AsyncClientCursor,
                **options,
            )
        session = PostgresqlSession(connection)
        try:
            with _as_our_errors():
                await connection.execute(_SESSION)
                await _migrate(connection, self._migrations)
        except BaseException:
            await session.close()
            raise
        return session


class PostgresqlSession:
    """A ``Session`` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def identity(self) -> Identity | None:
        with _as_our_errors():
            row = await self._row("select cluster_id, topic from sink_owner")
        return Identity(*row) if row and row[0] is not None else None

    async def take_over(self, owner: str, lease_s: float) -> int | None:
        with _as_our_errors():
            try:
                row = await self._row(_TAKE_OVER, {"owner": owner, "lease_s": lease_s})
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
        with _as_our_errors():
            cursor = await self._connection.execute(
                "update sink_owner set cluster_id = %s, topic = %s where epoch = %s", [*identity, epoch]
            )
        _require_own(cursor, epoch)

    async def progress(self) -> Mapping[int, Position]:
        with _as_our_errors():
            cursor = await self._connection.execute("select partition, next_offset, crc32_before from sink_progress")
            return {partition: Position(offset, crc) for partition, offset, crc in await cursor.fetchall()}

    async def write(self, epoch: int, rows: Sequence[MetricRow], moves: Sequence[Move]) -> Sequence[MetricRow]:
        with _as_our_errors():
            try:
                return await self._committed(lambda: self._write(epoch, rows, moves, self._insert))
            except errors.UniqueViolation:
                return await self._committed(lambda: self._write(epoch, rows, moves, self._insert_new))

    async def renew(self, epoch: int) -> None:
        with _as_our_errors():
            _require_own(await self._connection.execute(_STAY_OWNER, [epoch]), epoch)

    async def release(self, epoch: int) -> None:
        with _as_our_errors():
            await self._connection.execute("update sink_owner set alive_at = '-infinity' where epoch = %s", [epoch])

    async def clear(self) -> None:
        async def clear() -> None:
            await self._connection.execute(_CLEAR)

        with _as_our_errors():
            try:
                await self._committed(clear)
            except errors.LockNotAvailable as error:
                raise DatabaseUnavailableError(
                    "another transaction uses the sink's tables, and did not end within the time limit",
                    advice="end it (the view pg_stat_activity lists the sessions), or wait for its end, and try again",
                ) from error

    async def window_starts(self) -> tuple[int, int] | None:
        with _as_our_errors():
            row = await self._row(
                "select extract(epoch from min(window_start)), extract(epoch from max(window_start)) from product_metrics"
            )
        return (int(row[0]), int(row[1])) if row and row[0] is not None else None

    async def size_bytes(self) -> int:
        with _as_our_errors():
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
        _require_own(await self._connection.execute(_STAY_OWNER, [epoch]), epoch)
        known = [(move.partition, move.before, *move.after) for move in moves if move.before is not None]
        begun = [(move.partition, *move.after) for move in moves if move.before is None]
        moved = 0
        for statement, some in ((_MOVE, known), (_BEGIN_PARTITION, begun)):
            if some:
                moved += (await self._connection.execute(statement, [*map(list, zip(*some, strict=True))])).rowcount
        if moved != len(moves):
            raise ProgressMovedError(f"{len(moves) - moved} partitions do not stand where this sink left them")
        left_out = await put(rows) if rows else ()
        if time.monotonic() - began_s > _LONG_WRITE_S:
            await self._connection.execute(_STAY_OWNER, [epoch])  # the lease would be over at the COMMIT, or nearly so
        return left_out

    async def _insert(self, rows: Sequence[MetricRow]) -> Sequence[MetricRow]:
        await self._connection.execute(_INSERT, _columns(rows))
        return ()

    async def _insert_new(self, rows: Sequence[MetricRow]) -> Sequence[MetricRow]:
        """One statement, however slow the connection; of rows with the same key it inserts the first."""
        cursor = await self._connection.execute(_INSERT_NEW, _columns(rows))
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
                async with _transaction(self._connection):
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


@contextlib.asynccontextmanager
async def _transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction that is certainly committed at the end of the block.

    An exception in the block rolls it back. After an error that was caught inside the block, the server executes COMMIT as
    ROLLBACK, and reports that only in the command tag.
    """
    await connection.execute("begin")
    try:
        yield
    except Exception:
        with contextlib.suppress(psycopg.Error):
            await connection.execute("rollback")
        raise
    ended = await connection.execute("commit")
    if ended.statusmessage != "COMMIT":
        raise DatabaseUnavailableError(f"COMMIT was answered by {ended.statusmessage}: nothing was written")


async def _migrate(connection: Connection, known: Sequence[Migration]) -> None:
    async with _transaction(connection):
        # `if not exists` does not protect from another sink that starts at the same time.
        await connection.execute("select pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        cursor = await connection.execute(_SCHEMA_OF_TABLES)
        if found := await cursor.fetchone():
            await connection.execute("select set_config('search_path', %s, true)", found)  # for migrations
        else:
            await connection.execute("create table sink_schema (version integer not null)")
        cursor = await connection.execute("select coalesce(max(version), 0) from sink_schema")
        (version,) = await cursor.fetchone() or (0,)
        for migration in pending(known, version):
            await connection.execute(migration.statements.encode())
            await connection.execute("insert into sink_schema values (%s)", [migration.version])
            log.info("database schema migrated", version=migration.version)


def _columns(rows: Sequence[MetricRow]) -> list[str]:
    """The parameters of ``_INSERT``, each as the text of an array: psycopg takes four times as long to render a list."""
    texts = [orjson.dumps(column).decode() for column in zip(*rows, strict=True)]
    return [
        text if column == "product_id" else f"{{{text[1:-1]}}}"
        for column, text in zip(MetricRow._fields, texts, strict=True)
    ]


def _require_own(cursor: psycopg.AsyncCursor[tuple[Any, ...]], epoch: int) -> None:
    if cursor.rowcount != 1:
        raise FencedError(f"another sink has taken over the database since epoch {epoch}")


@contextlib.contextmanager
def _as_our_errors() -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise DatabaseRefusedError(
            f"the database refuses: {_first_line(error)}",
            advice="the sink's role needs a schema in which it may create tables, and unchanged tables",
        ) from error
    except errors.UntranslatableCharacter as error:
        raise DatabaseRefusedError(
            f"the database refuses: {_first_line(error)}",
            advice="its encoding lacks characters of a product id: create a database with the encoding UTF8",
        ) from error
    except psycopg.Error as error:
        raise DatabaseUnavailableError(_first_line(error)) from error


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
