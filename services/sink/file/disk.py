"""The calls by which files change, one by one: the seam at which a test can break off between any two of them."""

import errno
import os
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Disk:
    """The operating system's files. Every method raises ``OSError``."""

    def append(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data``; a failure may leave a part of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Return once what was written would survive a power cut."""
        os.fsync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def rename(self, source: Path, target: Path) -> None:
        """Replace ``target`` in one step; durable after ``sync_directory``."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give ``source`` the name ``target`` as well; where the file system has no hard links (FAT), instead.

        Durable after ``sync_directory``.
        """
        try:
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or target.exists():
                raise
            source.rename(target)

    def create(self, path: Path) -> None:
        """Make the empty file ``path``, in place of what is there; durable after ``sync_directory``."""
        path.unlink(missing_ok=True)  # it may be another user's
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))

    def remove(self, path: Path) -> None:
        """Delete ``path`` if it exists; durable after ``sync_directory``."""
        path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Return once what was renamed or removed in ``path`` would survive a power cut, where the file system can promise that.

        Some (CIFS, several FUSE ones) answer that a directory cannot be synced (fsync(2): EINVAL). They write it when they like,
        and a checkpoint that is older than its file is no harm: the file is cut back to it.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise
        finally:
            os.close(descriptor)
