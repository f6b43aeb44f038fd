"""A lock that one process on the machine can hold; the kernel releases it when the process ends."""

import fcntl
import os
from pathlib import Path


class WriteLock:
    """``flock`` on a separate lock file, since the protected file may be replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; raises ``OSError`` if the lock file cannot be opened."""
        if self.is_held():
            return True
        self.release()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        # The file was deleted between opening and locking, so this lock would exclude no other process.
        return self.is_held()

    def is_held(self) -> bool:
        """Whether this process has the lock, and its file is still the one that others would lock."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
