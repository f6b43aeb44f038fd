"""The metrics file: each metric of the topic exactly once, one JSON object a line.

A file and an offset cannot be changed atomically together. So lines are appended and synced first, and then the checkpoint is
replaced atomically. Data beyond the checkpoint's length is not committed, and is truncated when the file is opened. A file
that does not match its checkpoint (deleted, changed) is renamed and written again from the end of the last finished file; a
file of another cluster, from the topic's beginning. If another program has rotated the file, writing continues in the new
one: the earlier metrics are in the rotated file.
"""

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from libs.runtime.errors import PipelineError
from services.sink.file.checkpoint import Checkpoint, DamagedCheckpointError, load_checkpoint, store_checkpoint
from services.sink.file.disk import Disk
from services.sink.file.finished_files import Span, finished_files
from services.sink.file.finishing import Finishing
from services.sink.file.lines import span_in
from services.sink.file.opening import continued_after_rotation, crc_of_first
from services.sink.file.rotate_setting import Rotate
from services.sink.file.rotation import leads_to
from services.sink.file.write_lock import WriteLock
from services.sink.metrics_writer import OutputChangedError, OutputUnavailableError, WriterDisplacedError
from services.sink.record_batcher import Position

log = structlog.get_logger()

_REMEMBERED = 256  # checkpoints: the file may have been copied some writes before it was truncated
_HOPELESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


class MetricsFile:
    """Writes metrics into ``path``, with ``<path>.checkpoint`` and ``<path>.lock`` beside it.

    With ``rotate`` the file is finished from time to time, and an empty one takes its place.
    """

    def __init__(self, path: Path, topic: str, disk: Disk | None = None, rotate: Rotate | None = None) -> None:
        self._path = path
        self.rotate = rotate
        self._disk = disk or Disk()
        self._checkpoint_path = path.with_name(path.name + ".checkpoint")
        self._finishing = Finishing(self._disk, path, self._checkpoint_path, numbered=not (rotate and rotate.by_day))
        self._lock = WriteLock(path.with_name(path.name + ".lock"))
        self._descriptor: int | None = None
        self._was_changed = False  # by another program, since it was opened
        self._checkpoint = Checkpoint("", topic, 0, 0, {})
        self._recent: deque[Checkpoint] = deque(maxlen=_REMEMBERED)

    def acquire(self) -> bool:
        """Take the lock; raises ``PipelineError`` if the path cannot be written to."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and not self._path.is_file():
                raise IsADirectoryError(errno.EISDIR, "not a regular file", str(self._path))
            return self._lock.acquire()
        except OSError as error:
            if error.errno not in _HOPELESS:
                raise OutputUnavailableError(str(error)) from error
            raise PipelineError(
                f"SINK_OUTPUT_PATH={self._path} cannot be written: {error}",
                advice="choose another path, or give this user the right to write there",
            ) from error

    def open(self, cluster_id: str) -> dict[int, Position]:
        """Truncate the file to its checkpoint, or start over if the two do not match."""
        with self._as_unavailable():
            self._require_lock()
            fresh = Checkpoint(cluster_id, self._checkpoint.topic, 0, 0, {})
            checkpoint, problem = self._last_state(fresh)
            rotated = None
            if problem:
                rotated = continued_after_rotation(
                    self._path, self._checkpoint_path, self._descriptor, self._recent, fresh
                )
            self._close_file()
            if rotated is not None:
                self._go_on(rotated)
            elif checkpoint is None or problem:
                self._begin(checkpoint or fresh, problem)
            else:
                self._descriptor = self._open_file()
                self._disk.truncate(self._descriptor, checkpoint.length)
                self._checkpoint = replace(checkpoint, span=self._span(checkpoint))
                if checkpoint.finishing_as:
                    self._finish()
            self._was_changed = False
            return dict(self._checkpoint.positions)

    def start_over(self, reason: str) -> None:
        """Rename the file and begin an empty one."""
        with self._as_unavailable():
            self._require_lock()
            self._close_file()
            self._begin(Checkpoint(self._checkpoint.cluster_id, self._checkpoint.topic, 0, 0, {}), reason)

    def write(self, lines: Sequence[bytes], positions: Mapping[int, Position], span: Span | None = None) -> None:
        """Append ``lines``, which cover ``span`` (None without rotation), then replace the checkpoint; first finish the file if due.

        Raises:
            OutputUnavailableError: the system rejected the write, for example because the disk is full.
            OutputChangedError: the file at the path was changed or replaced.
            WriterDisplacedError: the lock file was deleted, so another process may write.
        """
        with self._as_unavailable():
            self._require_lock()
            descriptor = self._require_unchanged()
            data = b"".join(line + b"\n" for line in lines)
            checkpoint = self._checkpoint.extended(data, positions, span)
            if checkpoint == self._checkpoint:
                return
            if self.rotate and self.rotate.is_due(self._checkpoint.length, self._checkpoint.span, len(data), span):
                descriptor = self._finish()
                checkpoint = self._checkpoint.extended(data, positions, span)
            if data:
                try:
                    self._disk.append(descriptor, data)
                    self._disk.sync(descriptor)
                except OSError:
                    # Opening would truncate it, too, but readers should not see half a line until then.
                    with contextlib.suppress(OSError):
                        self._disk.truncate(descriptor, self._checkpoint.length)
                    raise
            store_checkpoint(self._disk, self._checkpoint_path, checkpoint)
            self._recent.append(self._checkpoint)
            self._checkpoint = checkpoint

    @property
    def length(self) -> int:
        return self._checkpoint.length

    def status(self) -> Mapping[str, object]:
        return {"path": str(self._path), "file_bytes": self._checkpoint.length}

    def close(self) -> None:
        self._close_file()
        self._lock.release()

    def _last_state(self, fresh: Checkpoint) -> tuple[Checkpoint | None, str]:
        """The checkpoint to continue from, and an empty problem; None instead of the checkpoint if there is no file yet.

        If the file does not match its checkpoint: the checkpoint of an empty file (None to begin with the topic), and the
        problem.
        """
        size = self._path.stat().st_size if self._path.exists() else 0
        try:
            checkpoint = load_checkpoint(self._checkpoint_path)
        except DamagedCheckpointError as error:
            return None, f"its checkpoint is damaged: {error}"
        if checkpoint is None:
            return None, "it has no checkpoint" if size or any(finished_files(self._path)) else ""
        if (checkpoint.cluster_id, checkpoint.topic) != (fresh.cluster_id, fresh.topic):
            other = f"topic {checkpoint.topic!r} of cluster {checkpoint.cluster_id!r}"
            return None, f"its checkpoint is for {other}, not for {fresh.topic!r} of {fresh.cluster_id!r}"
        if self._finishing.is_replaced(checkpoint):
            return self._finishing.finish(checkpoint)[0], ""
        instead = checkpoint.emptied(checkpoint.begins)
        if size < checkpoint.length:
            return instead, f"it has {size} bytes, its checkpoint says {checkpoint.length}"
        if self._stayed_open(checkpoint):
            checkpoint = self._checkpoint
        fits = checkpoint is self._checkpoint or crc_of_first(self._path, checkpoint.length) == checkpoint.crc
        return (checkpoint, "") if fits else (instead, "it is not what was written up to its checkpoint")

    def _stayed_open(self, checkpoint: Checkpoint) -> bool:
        """Whether this process has written the file up to ``checkpoint``: it need not read gigabytes again."""
        return (
            self._descriptor is not None
            and not self._was_changed
            and leads_to(self._path, self._descriptor)
            and replace(checkpoint, span=self._checkpoint.span) == self._checkpoint
        )

    def _span(self, checkpoint: Checkpoint) -> Span | None:
        """The time span that the file covers; None without rotation. A checkpoint without it is of a sink without rotation: the lines have it."""
        if checkpoint.finishing_as:
            return checkpoint.span
        return (checkpoint.span or span_in(self._path)) if self.rotate else None

    def _finish(self) -> int:
        """Finish the file and begin an empty one; returns its descriptor."""
        size = self._checkpoint.length
        self._checkpoint, finished = self._finishing.finish(self._checkpoint)
        self._close_file()
        self._descriptor = self._open_file()
        self._recent.clear()
        log.info("metrics file finished", path=str(finished), file_bytes=size)
        return self._descriptor

    def _go_on(self, checkpoint: Checkpoint) -> None:
        """Continue writing in the file that has replaced a rotated one."""
        if not checkpoint.length:
            self._put_aside(self._path)
        self._descriptor = self._open_file()
        store_checkpoint(self._disk, self._checkpoint_path, checkpoint)
        self._checkpoint = checkpoint
        self._recent.clear()

    def _put_aside(self, path: Path) -> Path | None:
        """Rename the file at ``path``, if there is one; returns its new name."""
        if not (path.exists() and path.stat().st_size):
            return None
        kept_as = _free_name(path)
        self._disk.rename(path, kept_as)
        # This comes before the new checkpoint, or the old lines would be truncated as an uncommitted tail.
        self._disk.sync_directory(path.parent)
        return kept_as

    def _begin(self, checkpoint: Checkpoint, problem: str) -> None:
        """Rename the existing file because of ``problem``, and begin an empty one."""
        for finished in finished_files(self._path):
            # Its metrics will be written again: all of them, or those of a file that is being finished.
            if not checkpoint.begins or (self._path.exists() and finished.path.samefile(self._path)):
                self._put_aside(finished.path)
        kept_as = self._put_aside(self._path)
        if problem:
            log.warning(
                "rewriting the metrics file from the end of the last finished file"
                if checkpoint.begins
                else "rewriting the metrics file from the beginning of the topic",
                path=str(self._path),
                reason=problem,
                old_file=kept_as and str(kept_as),
            )
        self._descriptor = self._open_file()
        store_checkpoint(self._disk, self._checkpoint_path, checkpoint)
        self._checkpoint = checkpoint
        self._recent.clear()

    def _open_file(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def _close_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _require_lock(self) -> None:
        if not self._lock.is_held():
            raise WriterDisplacedError("the lock's file was deleted")

    def _require_unchanged(self) -> int:
        """The open file's descriptor; raises unless the path still refers to it and it ends at the checkpoint."""
        assert self._descriptor is not None, "open first"
        try:
            found = self._path.stat()
        except FileNotFoundError:
            raise OutputChangedError(f"{self._path} was deleted") from None
        if not os.path.samestat(found, os.fstat(self._descriptor)):
            raise OutputChangedError(f"{self._path} was replaced")
        if found.st_size != self._checkpoint.length:
            self._was_changed = True
            raise OutputChangedError(
                f"{self._path} has {found.st_size} bytes, {self._checkpoint.length} of them written here"
            )
        return self._descriptor

    @contextlib.contextmanager
    def _as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputUnavailableError(f"{self._path}: {error}") from error


def _free_name(path: Path) -> Path:
    number = 1
    while (name := path.with_name(f"{path.name}.{number}.old")).exists():
        number += 1
    return name
