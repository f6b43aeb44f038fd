"""Detects that another program has rotated the metrics file: by a rename, or by a copy and a truncation.

The rotated file is recognised by its content: it begins with exactly the data that was written up to a checkpoint. So its new
name, compression, and whether the sink was running do not matter.
"""

import bz2
import glob
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from services.sink.file.checkpoint import Checkpoint

_CHUNK_BYTES = 1024 * 1024
_MOST_CANDIDATES = 10
_OURS = (".checkpoint", ".lock", ".tmp", ".old")
_COMPRESSED: dict[str, Callable[[Path], object]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Rotated(NamedTuple):
    """A file that begins with all data written up to ``checkpoint``; ``where`` is its name in messages.

    ``surplus_bytes`` follow, of a write in progress when the file was copied.
    """

    where: str
    checkpoint: Checkpoint
    surplus_bytes: int


def find_rotated(path: Path, descriptor: int | None, known: Iterable[Checkpoint]) -> Rotated | None:
    """Find the rotated file that was at ``path``, if it was rotated.

    Args:
        path: the path of the file before.
        descriptor: the file, if it is still open: it may have been moved to another folder.
        known: checkpoints of the file; the longest one that matches is used.
    """
    known = sorted((each for each in known if each.length), key=lambda each: each.length)
    if not known:
        return None
    found: list[Rotated] = []
    if descriptor is not None and os.fstat(descriptor).st_nlink and not leads_to(path, descriptor):
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            found += _matching("another folder", file, known)
    for candidate in _candidates(path, known[0].length):
        try:
            opener = _COMPRESSED.get(candidate.suffix)
            with cast(BinaryIO, opener(candidate)) if opener else candidate.open("rb") as file:
                found += _matching(candidate.name, file, known)
        except (OSError, EOFError, zlib.error, lzma.LZMAError):
            continue  # still being compressed, or not a compressed file at all
    return max(found, key=lambda each: (each.checkpoint.length, each.where != "another folder"), default=None)


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether the file at ``path`` is the one that is open as ``descriptor``; raises ``OSError``."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _candidates(path: Path, least_bytes: int) -> Iterator[Path]:
    """Files beside ``path`` whose names begin with its name, the newest first."""
    beside = []
    for candidate in path.parent.glob(f"{glob.escape(path.name)}?*"):
        if candidate.name.endswith(_OURS) or not candidate.is_file():
            continue
        status = candidate.stat()
        if candidate.suffix in _COMPRESSED or status.st_size >= least_bytes:
            beside.append((status.st_mtime_ns, candidate))
    return (candidate for _, candidate in sorted(beside, reverse=True)[:_MOST_CANDIDATES])


def _matching(where: str, file: BinaryIO, known: Sequence[Checkpoint]) -> Iterator[Rotated]:
    """``file`` if its beginning matches one of the checkpoints, which are ordered by length."""
    crc = length = 0
    fits = None
    for checkpoint in known:
        while length < checkpoint.length and (chunk := file.read(min(checkpoint.length - length, _CHUNK_BYTES))):
            crc, length = zlib.crc32(chunk, crc), length + len(chunk)
        if (length, crc) == (checkpoint.length, checkpoint.crc):
            fits = checkpoint
    if fits is not None:
        while chunk := file.read(_CHUNK_BYTES):
            length += len(chunk)
        yield Rotated(where, fits, length - fits.length)
