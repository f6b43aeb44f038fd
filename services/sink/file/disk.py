"""All calls that change files, so that a test can simulate a crash between any two of them."""

import errno
import os
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Disk:
    """The operating system's files. Every method raises ``OSError``."""

    def append(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data``; a failure may leave part of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Return once the written data would survive a power cut."""
        os.fsync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def rename(self, source: Path, target: Path) -> None:
        """Replace ``target`` atomically; durable after ``sync_directory``."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Create the hard link ``target`` to ``source``; on a file system without hard links (FAT), rename ``source``.

        Durable after ``sync_directory``.
        """
        try:
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or target.exists():
                raise
            source.rename(target)

    def create(self, path: Path) -> None:
        """Create the empty file ``path`` in place of any existing one; durable after ``sync_directory``."""
        path.unlink(missing_ok=True)  # it may belong to another user
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))

    def remove(self, path: Path) -> None:
        """Delete ``path`` if it exists; durable after ``sync_directory``."""
        path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Return once renames and removals in ``path`` would survive a power cut, if the file system supports that.

        Some (CIFS, several FUSE ones) cannot sync a directory (fsync(2): EINVAL), and write it at some later time. A checkpoint
        that is older than its file is harmless: the file is truncated to it.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise
        finally:
            os.close(descriptor)
