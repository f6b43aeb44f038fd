"""The live file becomes a finished one, and an empty one takes its place.

Files and checkpoint cannot change in one step, so these are four, after each of which the process may end:

1. The checkpoint names the finished file.
2. The live file has that name as well, by a hard link.
3. An empty file replaces the live one.
4. The checkpoint is that of the empty file, with the same positions.

Who opens the live file finds all of its lines or none of them, and never no file (unless the file system has no hard links).
Up to step 3 the live file is as long as
its checkpoint says, and afterwards it is empty: so it can be told where to go on.
"""

from dataclasses import replace
from pathlib import Path

from services.sink.file.checkpoint import Checkpoint, store_checkpoint
from services.sink.file.disk import Disk
from services.sink.file.finished_files import free_name


class Finishing:
    """The steps for the live file ``live``, whose checkpoint is at ``checkpoint_path``. All raise ``OSError``."""

    def __init__(self, disk: Disk, live: Path, checkpoint_path: Path) -> None:
        self._disk = disk
        self._live = live
        self._checkpoint_path = checkpoint_path

    def is_replaced(self, checkpoint: Checkpoint) -> bool:
        """Whether step 3 is done, in an earlier life, for the file of ``checkpoint``."""
        if not checkpoint.finishing_as:
            return False
        finished = self._live.with_name(checkpoint.finishing_as)
        return _size(self._live) < checkpoint.length == _size(finished)

    def finish(self, checkpoint: Checkpoint) -> tuple[Checkpoint, Path]:
        """Do the steps that are left; returns the empty file's checkpoint, and the finished file.

        The live file has to be as long as ``checkpoint`` says, unless it ``is_replaced``.
        """
        if not self.is_replaced(checkpoint):
            checkpoint = self._name(checkpoint)
            self._replace_live(self._live.with_name(checkpoint.finishing_as or ""))
        # A replacement that a crash interrupted may not be durable yet.
        self._disk.sync_directory(self._live.parent)
        emptied = checkpoint.emptied(checkpoint.positions)
        store_checkpoint(self._disk, self._checkpoint_path, emptied)
        return emptied, self._live.with_name(checkpoint.finishing_as or "")

    def _name(self, checkpoint: Checkpoint) -> Checkpoint:
        """``checkpoint`` with a name for the finished file that no other file has."""
        if checkpoint.finishing_as:
            finished = self._live.with_name(checkpoint.finishing_as)
            if not finished.exists() or finished.samefile(self._live):
                return checkpoint
        named = replace(checkpoint, finishing_as=free_name(self._live, checkpoint.span))
        store_checkpoint(self._disk, self._checkpoint_path, named)
        return named

    def _replace_live(self, finished: Path) -> None:
        empty = self._live.with_name(f"{self._live.name}.empty.tmp")
        self._disk.create(empty)
        if not finished.exists():
            self._disk.link(self._live, finished)
        # Were the replacement durable before the link, a power cut would take the lines away.
        self._disk.sync_directory(self._live.parent)
        self._disk.rename(empty, self._live)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
