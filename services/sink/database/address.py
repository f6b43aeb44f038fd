"""SINK_DATABASE_URL: the database's address, whose text never contains the password."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from libs.runtime.secret import read_secret_file

_ALLOWED = "sqlite:///relative/path.db, sqlite:////absolute/path.db or postgresql://user@host:port/database"
_POSTGRESQL = ("postgresql", "postgres")


@dataclass(frozen=True)
class SqliteAddress:
    """A file."""

    path: Path

    def __str__(self) -> str:
        return f"sqlite:///{self.path}"


@dataclass(frozen=True)
class PostgresqlAddress:
    """A libpq connection URI, and the file with the password, if there is one.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    """

    uri: str
    password_file: Path | None

    def password(self) -> str | None:
        """The file's first line, None without a file; read each time, since a password may be changed.

        Raises:
            PipelineError: the file cannot be read, or its first line is empty.
        """
        if self.password_file is None:
            return None
        return read_secret_file("SINK_DATABASE_PASSWORD", self.password_file)

    def __str__(self) -> str:
        """Host and database, without the password and without parameters, which may contain it, too."""
        scheme, _, rest = self.uri.partition("://")
        # As libpq reads it: a password ends at the first @, and may contain # and ?, at which urlsplit() ends the host.
        login, at, where = rest.partition("@")
        if not at or "/" in login:
            login, at, where = "", "", rest
        shown = where.partition("?")[0].rpartition("@")[2]
        return f"{scheme}://{login.partition(':')[0]}{at}{shown}"


Address = SqliteAddress | PostgresqlAddress


def parse_address(url: str, password_file: Path | None = None) -> Address:
    """The database of ``url``; raises ``ValueError`` saying what is allowed, without the URL, which may have a password."""
    scheme, found, rest = url.partition("://")
    if not found or "\0" in url:
        raise ValueError(f"allowed is {_ALLOWED}")
    if scheme == "sqlite":
        if not rest.startswith("/") or rest in ("/", "//") or "?" in rest:
            raise ValueError(f"sqlite:// takes a path after a third slash, and nothing else: {_ALLOWED}")
        if password_file is not None:
            raise ValueError("SQLite has no passwords: leave SINK_DATABASE_PASSWORD_FILE out")
        return SqliteAddress(Path(unquote(rest[1:])))
    if scheme in _POSTGRESQL:
        from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 - needed for PostgreSQL only

        try:
            urlsplit(url)
            ports = str(conninfo.conninfo_to_dict(url).get("port", ""))
        except (ValueError, ProgrammingError):  # their text may contain the password
            ports = "?"
        # No number: it is part of a password that contains a slash, for example.
        if ports and not ports.replace(",", "0").isdecimal():
            raise ValueError(f"it is no connection URI; allowed is {_ALLOWED}")
        return PostgresqlAddress(url, password_file)
    raise ValueError(f"allowed is {_ALLOWED}")
