"""Transactions on connections in autocommit mode."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg

from services.sink.database.session import DatabaseUnavailableError

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@contextlib.asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
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
