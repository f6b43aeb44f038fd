"""Converts finished metrics files in the background, one after the other."""

import asyncio
import contextlib
import glob
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import structlog

from libs.runtime.backoff import Backoff
from services.sink.file.finished_files import GZIP_SUFFIX, PARQUET_SUFFIX, FinishedFile, finished_files

log = structlog.get_logger()

KEPT_S = 60.0
"""How long the original is kept after its conversion: a reader that has listed the files has this long to open it."""

_LOOK_EVERY_S = 5.0
_PROGRAM = Path(__file__).with_name("convert.py")
_MOST_FAILURES = 10
_MAX_ERROR_CHARS = 300


class _Original(NamedTuple):
    """Identifies a finished file, which does not change."""

    inode: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        status = path.stat()
        return cls(status.st_ino, status.st_mtime_ns)


class Converter:
    """Converts each finished file beside ``live`` to ``target_format``, and then removes the original.

    A crash may leave a temporary file, or an original beside its complete copy. The next start cleans up both, once it has
    compared the two. Only the sink that writes ``live`` may run it.
    """

    def __init__(self, live: Path, target_format: str, now_s: Callable[[], float] = time.time) -> None:
        self._live = live
        self._suffix = live.suffix + GZIP_SUFFIX if target_format == "gzip" else PARQUET_SUFFIX
        self._now_s = now_s
        self._backoff = Backoff(1.0, 60.0)
        # By name, while the original is there: when its copy was complete; None if another file has that name.
        self._converted: dict[str, tuple[_Original, float | None]] = {}
        # By name, the last round in which it could not be converted.
        self._failed: dict[str, int] = {}
        self._round = 0

    async def run(self) -> None:
        """Convert existing and new files until cancelled."""
        while True:
            delay_s = _LOOK_EVERY_S
            try:
                await self.convert_all()
                self._backoff.reset()
            except OSError as error:
                delay_s = self._backoff.next_s()
                log.warning("a finished file could not be converted", error=str(error), retry_in_s=delay_s)
            await asyncio.sleep(delay_s)

    async def convert_all(self) -> None:
        """Convert all finished files that are not converted, the oldest first; raises the first ``OSError`` after the others were tried.

        After so many failures a round ends, so the next one begins with the files that it has not tried.
        """
        self._round += 1
        files = await asyncio.to_thread(lambda: sorted(finished_files(self._live), key=self._turn))
        failures: list[OSError] = []
        for file in files:
            if file.is_converted:
                continue
            try:
                # Another program may have taken the copy away already: then it is not made again. But after a rebuild of the
                # outputs another file may have the same name.
                found = _Original.of(file.path)
                original, converted_s = self._converted.get(file.name, (None, None))
                if original != found:
                    self._converted[file.name] = found, await self._convert(file)
                elif converted_s is not None and self._now_s() - converted_s > KEPT_S:
                    file.path.unlink(missing_ok=True)
                    self._converted.pop(file.name, None)
                self._failed.pop(file.name, None)
            except OSError as error:  # a damaged file must not keep later ones as they are
                failures.append(error)
                self._failed[file.name] = self._round
                if len(failures) == _MOST_FAILURES:  # on a full disk all of them fail
                    break
        if failures:
            raise failures[0]

    def _turn(self, file: FinishedFile) -> tuple[int, str]:
        return self._failed.get(file.name, 0), file.name

    async def _convert(self, file: FinishedFile) -> float | None:
        """Returns when the copy was complete, in epoch seconds; None if another file has its name."""
        target = file.path.with_name(file.name + self._suffix)
        for left_behind in target.parent.glob(f"{glob.escape(target.name)}.*.tmp"):
            left_behind.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            _PROGRAM,
            file.path,
            target,
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, told = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == os.EX_CANTCREAT:
            log.warning(
                "a finished file is not converted, since another one has the name of its copy",
                path=str(file.path),
                other=str(target),
                advice="give each SINK_OUTPUT_PATH in a folder a name that differs not only in its suffix",
            )
            return None
        if process.returncode:
            raise OSError(f"{file.path}: {told.decode(errors='replace').strip()[-_MAX_ERROR_CHARS:]}")
        try:
            copy = target.stat()
        except FileNotFoundError:  # taken away already
            return self._now_s()
        log.info("finished file converted", path=str(target), file_bytes=copy.st_size)
        return copy.st_ctime
