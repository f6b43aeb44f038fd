"""Opens a SQLite database of another program for reading."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from libs.runtime.errors import PipelineError


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database at ``path``, which is in WAL mode and may be written meanwhile.

    While no process has it open, even a reader has to create files beside it. Without the permission for that, only the database
    file is read.

    Raises:
        PipelineError: only the database file was read, and another program began to write it.
    """
    path = path.resolve()  # SQLite follows a link, too
    wal = path.with_name(f"{path.name}-wal")
    as_it_is = not wal.exists() and not os.access(path.parent, os.W_OK, effective_ids=True)
    uri = f"{path.as_uri()}?mode=ro{'&immutable=1' if as_it_is else ''}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
        yield connection
    if as_it_is and wal.exists():
        raise PipelineError(f"{path} was opened for writing while it was read", advice="try again")
