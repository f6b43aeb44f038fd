"""Files that a reader never sees half written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` to write to, which replaces ``path`` at the end of the block, and is removed after an error.

    A link stays one: the file that it names is replaced. What is no regular file, such as /dev/stdout, is written to itself.

    Raises:
        OSError: ``path`` cannot be replaced.
    """
    if path.exists() and not path.is_file():
        yield path  # not resolved: the name of a process's own pipe leads nowhere
        return
    path = path.resolve()
    new = path.with_name(f".{path.name}.new")
    try:
        yield new
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
