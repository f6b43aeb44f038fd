"""A lock that one process on the machine can hold, given back by the kernel when that process dies."""

import fcntl
import os
from pathlib import Path


class WriteLock:
    """``flock`` on a file of its own, since the file it protects may be replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody has it; raises ``OSError`` if the lock's file cannot be opened."""
        if self.is_held():
            return True
        self.release()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        # Deleted between opening and locking: this lock would exclude nobody.
        return self.is_held()

    def is_held(self) -> bool:
        """Whether the lock is ours and its file is still the one that others would lock."""
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
