"""Fake disks that crash, reject writes, or lose data that was not synced."""

import errno
import os
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from services.sink.file.disk import Disk


class Crash(BaseException):
    """Simulates a crash of the process: must not be handled."""


class CrashingDisk(Disk):
    """Counts the calls that change files, and crashes before call ``crash_at``; an append is half done then."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.crash_at = crash_at

    def _crashes_in(self, name: str) -> bool:
        self.calls.append(name)
        return len(self.calls) == self.crash_at

    def _step(self, name: str) -> None:
        if self._crashes_in(name):
            raise Crash(name)

    def append(self, descriptor: int, data: bytes) -> None:
        if self._crashes_in("append"):
            os.write(descriptor, data[: len(data) // 2])
            raise Crash("append")
        super().append(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._step("sync")

    def truncate(self, descriptor: int, length: int) -> None:
        self._step("truncate")
        super().truncate(descriptor, length)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        super().rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._step("link")
        super().link(source, target)

    def create(self, path: Path) -> None:
        self._step("create")
        super().create(path)

    def remove(self, path: Path) -> None:
        self._step("remove")
        super().remove(path)

    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory")


class PowerCutDisk(CrashingDisk):
    """After a crash, ``cut_power`` reverts a random part of the changes that were not synced."""

    def __init__(self, crash_at: int | None, chance: random.Random) -> None:
        super().__init__(crash_at)
        self._chance = chance
        self._synced: dict[int, int] = {}
        self._undo: list[Callable[[], object]] = []
        self._others = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._others, ignore_errors=True)
        self._count = 0

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        found = os.fstat(descriptor)
        self._synced[found.st_ino] = found.st_size

    def truncate(self, descriptor: int, length: int) -> None:
        super().truncate(descriptor, length)
        inode = os.fstat(descriptor).st_ino
        self._synced[inode] = min(self._synced.get(inode, length), length)

    def append(self, descriptor: int, data: bytes) -> None:
        found = os.fstat(descriptor)
        self._synced.setdefault(found.st_ino, found.st_size)
        super().append(descriptor, data)

    def rename(self, source: Path, target: Path) -> None:
        former = self._kept(target)
        super().rename(source, target)

        def undo() -> None:
            target.rename(source)
            if former is not None:
                former.rename(target)

        self._undo.append(undo)

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        self._undo.append(target.unlink)

    def create(self, path: Path) -> None:
        former = self._kept(path)
        super().create(path)

        def undo() -> None:
            path.unlink()
            if former is not None:
                former.rename(path)

        self._undo.append(undo)

    def remove(self, path: Path) -> None:
        former = self._kept(path)
        super().remove(path)
        if former is not None:
            self._undo.append(lambda: former.rename(path))

    def _kept(self, path: Path) -> Path | None:
        """A hard link to the file at ``path``, so that the same file can be restored."""
        if not path.exists():
            return None
        self._count += 1
        kept = self._others / str(self._count)
        kept.hardlink_to(path)
        return kept

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self._undo.clear()

    def cut_power(self, folder: Path) -> None:
        for path in folder.iterdir():
            found = path.stat()
            synced = self._synced.get(found.st_ino)
            if synced is not None and synced < found.st_size:
                os.truncate(path, self._chance.randint(synced, found.st_size))
        for _ in range(self._chance.randint(0, len(self._undo))):
            self._undo.pop()()


class FullDisk(Disk):
    """Rejects appends once ``room`` bytes are written; with ``room`` None it has space."""

    def __init__(self, room: int | None) -> None:
        self.room = room

    def append(self, descriptor: int, data: bytes) -> None:
        if self.room is not None:
            part = data[: self.room]
            self.room -= len(part)
            super().append(descriptor, part)
            if len(part) < len(data):
                raise OSError(errno.ENOSPC, "no space left")
            return
        super().append(descriptor, data)
