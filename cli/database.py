"""The database that a command reads."""

from pathlib import Path
from urllib.parse import quote

from cli.errors import UsageError
from services.sink.database.address import Address, parse_address


def address_of_database(url: str, password_file: Path | None = None) -> Address:
    """Its address; raises UsageError if the URL, which may contain a password, cannot be used, or a password file with it."""
    try:
        return parse_address(url, password_file)
    except ValueError as error:
        raise UsageError(f"the sink's database (--database, SINK_DATABASE_URL): {error}") from None


def default_database(folder: Path) -> str:
    """The URL of the database that a sink makes in its output folder if no other is set."""
    return f"sqlite:///{quote(str(folder / 'metrics.db'))}"
