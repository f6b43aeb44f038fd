"""Translates psycopg's errors into those of ``Session``."""

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors

from services.sink.database.session import DatabaseRefusedError, DatabaseUnavailableError

_REFUSALS = (
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.DuplicateTable,
)


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Raises ``DatabaseRefusedError`` or ``DatabaseUnavailableError`` for an error of psycopg in the block."""
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
