"""The small file beside the metrics that says up to where they are complete, and where in the topic to go on."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from libs.runtime.errors import PipelineError
from services.sink.file.disk import Disk
from services.sink.topic_reader import Position

_VERSION = 1
_MAX_BYTES = 1024 * 1024  # far more than a thousand partitions need; what is longer is no checkpoint


class DamagedCheckpointError(PipelineError):
    """The checkpoint cannot be understood."""


@dataclass(frozen=True)
class Checkpoint:
    """A file's first ``length`` bytes, whose CRC-32 is ``crc``, are ``topic``'s metrics before ``positions``."""

    cluster_id: str
    topic: str
    length: int
    crc: int
    positions: Mapping[int, Position]

    def extended(self, data: bytes, positions: Mapping[int, Position]) -> "Checkpoint":
        """The checkpoint after ``data`` was appended."""
        return Checkpoint(
            self.cluster_id,
            self.topic,
            self.length + len(data),
            zlib.crc32(data, self.crc),
            {**self.positions, **positions},
        )


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as one line of JSON, with a checksum of its own: one wrong digit would cost metrics."""
    fields: dict[str, object] = {
        "version": _VERSION,
        "cluster_id": checkpoint.cluster_id,
        "topic": checkpoint.topic,
        "length": checkpoint.length,
        "crc32": checkpoint.crc,
        "positions": {
            str(partition): {"next_offset": position.next_offset, "crc32_before": position.crc}
            for partition, position in sorted(checkpoint.positions.items())
        },
    }
    return orjson.dumps(fields | {"checksum": _checksum(fields)}, option=orjson.OPT_APPEND_NEWLINE)


def _checksum(fields: dict[str, object]) -> int:
    return zlib.crc32(orjson.dumps(fields))


def decode_checkpoint(data: bytes) -> Checkpoint:
    """The checkpoint in ``data``; raises ``DamagedCheckpointError`` unless it is one to the letter."""
    try:
        fields = orjson.loads(data)
        if fields.pop("checksum") != _checksum(fields):
            raise DamagedCheckpointError("its checksum is wrong")
        if fields["version"] != _VERSION:
            raise DamagedCheckpointError(f"version {fields['version']!r} is unknown")
        return Checkpoint(
            _text(fields["cluster_id"]),
            _text(fields["topic"]),
            _count(fields["length"]),
            _count(fields["crc32"]),
            {
                _partition(key): Position(_count(position["next_offset"]), _count(position["crc32_before"]))
                for key, position in fields["positions"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{type(error).__name__}: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number from 0")
    return value


def _partition(key: str) -> int:
    number = int(key)
    if str(number) != key or number < 0:
        raise ValueError(f"{key!r} is no partition")
    return number


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``, None if there is none; raises ``DamagedCheckpointError`` and ``OSError``."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > _MAX_BYTES:
        raise DamagedCheckpointError(f"longer than {_MAX_BYTES} bytes")
    return decode_checkpoint(data)


def store_checkpoint(disk: Disk, path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at ``path``: after a crash at any moment either the old or the new one stands there."""
    temporary = path.with_name(path.name + ".tmp")
    # Made anew each time: what an earlier run left behind may belong to another user.
    disk.remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        disk.append(descriptor, encode_checkpoint(checkpoint))
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    disk.rename(temporary, path)
    disk.sync_directory(path.parent)
