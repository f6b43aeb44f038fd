"""Creates the ``Database`` for an address."""

from services.sink.database.address import Address, SqliteAddress
from services.sink.database.session import Database
from services.sink.database.sqlite import SqliteDatabase


def database_at(address: Address) -> Database:
    """The database at ``address``, without connecting to it."""
    if isinstance(address, SqliteAddress):
        return SqliteDatabase(address)
    from services.sink.database.postgresql.database import PostgresqlDatabase  # noqa: PLC0415 - its driver is 20 MB of memory

    return PostgresqlDatabase(address)
