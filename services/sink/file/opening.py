"""Finds out, when the metrics file is opened, where writing continues."""

import zlib
from collections.abc import Iterable
from pathlib import Path

import structlog

from services.sink.file.checkpoint import Checkpoint, DamagedCheckpointError, load_checkpoint
from services.sink.file.rotation import find_rotated

log = structlog.get_logger()

_CHUNK_BYTES = 1024 * 1024


def continued_after_rotation(
    path: Path, checkpoint_path: Path, descriptor: int | None, recent: Iterable[Checkpoint], fresh: Checkpoint
) -> Checkpoint | None:
    """The checkpoint to continue from, if another program has rotated the file since the last write.

    Args:
        path: the metrics file.
        checkpoint_path: its checkpoint.
        descriptor: the file, if it is still open.
        recent: the checkpoints of this process before the stored one.
        fresh: the checkpoint of an empty file of this topic.
    """
    try:
        stored = load_checkpoint(checkpoint_path)
    except DamagedCheckpointError:
        return None
    if stored is None or (stored.cluster_id, stored.topic) != (fresh.cluster_id, fresh.topic):
        return None
    rotated = find_rotated(path, descriptor, [*recent, stored])
    if rotated is None:
        return None
    log.warning(
        "the metrics file was rotated by another program: continuing at the same position",
        path=str(path),
        rotated_to=rotated.where,
        written_again_bytes=rotated.surplus_bytes,
    )
    # Truncated just before the last write, the file has the lines of that write only.
    before = stored.emptied(rotated.checkpoint.positions)
    last_bytes = stored.length - rotated.checkpoint.length
    if last_bytes and path.exists() and path.stat().st_size == last_bytes:
        written = path.read_bytes()
        if rotated.checkpoint.extended(written, stored.positions).crc == stored.crc:
            return before.extended(written, stored.positions, stored.span)
    return before


def crc_of_first(path: Path, length: int) -> int:
    """The checksum of the first ``length`` bytes of the file, or of all if it is shorter."""
    if not length:
        return 0
    crc = 0
    with path.open("rb") as file:
        while length and (chunk := file.read(min(length, _CHUNK_BYTES))):
            crc = zlib.crc32(chunk, crc)
            length -= len(chunk)
    return crc
