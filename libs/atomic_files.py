"""Files that a reader never sees half written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` to write to, which replaces ``path`` at the end of the block, and is removed after an error.

    A symbolic link is kept, and its target is replaced. A path that is not a regular file (a pipe, a device, /dev/stdout) is written
    directly. If two processes write at the same time, the file of the last one remains.

    Raises:
        OSError: ``path`` cannot be replaced.
    """
    if path.is_relative_to("/dev") or (path.exists() and not path.is_file()):
        yield path  # not resolved: the name of a process's own pipe leads nowhere
        return
    path = path.resolve()
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield new
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
