"""Finishes the live file: it gets its final name, and an empty file takes its place.

Files and checkpoint cannot be changed atomically together. So there are four steps, and a crash may come after each:

1. The checkpoint names the finished file.
2. The live file gets that name as a hard link.
3. An empty file replaces the live one.
4. The checkpoint becomes that of the empty file, with the same positions.

A reader that opens the live file finds all of its lines or none of them, and there always is a file (unless the file system
has no hard links). Until step 3 the live file has the length in its checkpoint, and afterwards it is empty. That tells which
step comes next.
"""

from dataclasses import replace
from pathlib import Path

from services.sink.file.checkpoint import Checkpoint, store_checkpoint
from services.sink.file.disk import Disk
from services.sink.file.finished_files import free_name


class Finishing:
    """The steps for the live file ``live``, whose checkpoint is at ``checkpoint_path``. All raise ``OSError``.

    Files of a day each have different names anyway. Others are ``numbered``: earlier ones may have been moved away, so the folder does
    not show which names were given.
    """

    def __init__(self, disk: Disk, live: Path, checkpoint_path: Path, *, numbered: bool) -> None:
        self._disk = disk
        self._live = live
        self._checkpoint_path = checkpoint_path
        self._numbered = numbered

    def is_replaced(self, checkpoint: Checkpoint) -> bool:
        """Whether step 3 was done for the file of ``checkpoint`` before a crash."""
        if not checkpoint.finishing_as:
            return False
        finished = self._live.with_name(checkpoint.finishing_as)
        return _size(self._live) < checkpoint.length == _size(finished)

    def finish(self, checkpoint: Checkpoint) -> tuple[Checkpoint, Path]:
        """Do the remaining steps; returns the empty file's checkpoint, and the finished file.

        The live file has to have the length in ``checkpoint``, unless it ``is_replaced``.
        """
        if not self.is_replaced(checkpoint):
            checkpoint = self._name(checkpoint)
            self._replace_live(self._live.with_name(checkpoint.finishing_as or ""))
        # A replacement before a crash may not be durable yet.
        self._disk.sync_directory(self._live.parent)
        emptied = checkpoint.emptied(checkpoint.positions)
        store_checkpoint(self._disk, self._checkpoint_path, emptied)
        return emptied, self._live.with_name(checkpoint.finishing_as or "")

    def _name(self, checkpoint: Checkpoint) -> Checkpoint:
        """``checkpoint`` with an unused name for the finished file."""
        if checkpoint.finishing_as:
            finished = self._live.with_name(checkpoint.finishing_as)
            if not finished.exists() or finished.samefile(self._live):
                return checkpoint
        # Each file begins after the one before, so the number grows.
        number = 1 + sum(begin.next_offset for begin in checkpoint.begins.values()) if self._numbered else 1
        named = replace(checkpoint, finishing_as=free_name(self._live, checkpoint.span, number))
        store_checkpoint(self._disk, self._checkpoint_path, named)
        return named

    def _replace_live(self, finished: Path) -> None:
        empty = self._live.with_name(f"{self._live.name}.empty.tmp")
        self._disk.create(empty)
        if not finished.exists():
            self._disk.link(self._live, finished)
        # If the replacement became durable before the link, a power cut would lose the lines.
        self._disk.sync_directory(self._live.parent)
        self._disk.rename(empty, self._live)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
