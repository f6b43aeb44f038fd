"""Brings the schema of a database to the version that this sink knows."""

from collections.abc import Sequence

import structlog

from services.sink.database.postgresql.transaction import Connection, transaction
from services.sink.database.schema import Migration, pending

log = structlog.get_logger()

_LOCK = 5_283_660_126_478_137  # an arbitrary number, the same in every sink

# "create table if not exists" needs the right to create tables, and looks only into the schema that comes first.
_SCHEMA_OF_TABLES = "select relnamespace::regnamespace::text from pg_class where oid = to_regclass('sink_schema')"


async def migrate(connection: Connection, known: Sequence[Migration]) -> None:
    """Applies the migrations that the schema lacks, in one transaction; raises ``SchemaError`` if a newer sink has migrated it."""
    async with transaction(connection):
        # `if not exists` does not protect from another sink that starts at the same time.
        await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
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
