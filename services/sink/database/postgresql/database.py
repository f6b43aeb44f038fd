"""PostgreSQL as a ``Database``, by psycopg.

Connections are in autocommit mode, and each transaction has an explicit BEGIN and COMMIT. Without autocommit any SELECT opens
a transaction that is not committed, and psycopg's transaction() is then a savepoint in it.

The driver puts the parameters into the statements, and each statement is a single message of the simple query protocol. A sink
that is suspended in a write keeps a lock on the owner's row until the server ends its session, and the server does that only
while it waits for the next such message. None of its timeouts ends a session that stops in the middle of a COPY, or of the
messages that pass parameters separately (PostgreSQL 15; tests/databases/test_suspended_owner.py). Nor is a statement
prepared on the server: a prepared one keeps failing once another session has changed a table.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from libs.runtime.errors import PipelineError
from services.sink.database.address import PostgresqlAddress
from services.sink.database.postgresql.errors import translated_errors
from services.sink.database.postgresql.migration import migrate
from services.sink.database.postgresql.session import PostgresqlSession
from services.sink.database.schema import Migration, migrations
from services.sink.database.session import DatabaseUnavailableError

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
        with translated_errors():
            connection = await psycopg.AsyncConnection.connect(
                self._address.uri,
                autocommit=True,
                cursor_factory=psycopg.AsyncClientCursor,
                **options,
            )
        session = PostgresqlSession(connection)
        try:
            with translated_errors():
                await connection.execute(_SESSION)
                await migrate(connection, self._migrations)
        except BaseException:
            await session.close()
            raise
        return session
