"""The checkpoint file of the metrics file: its valid length, and the positions in the topic to continue from."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from libs.events.product_metrics import LAST_SECOND
from libs.runtime.errors import PipelineError
from services.sink.file.disk import Disk
from services.sink.file.finished_files import Span
from services.sink.record_batcher import Position

_VERSION = 1
_MAX_BYTES = 1024 * 1024  # far more than a thousand partitions need; a longer file is not a checkpoint


class DamagedCheckpointError(PipelineError):
    """The checkpoint cannot be decoded."""


@dataclass(frozen=True)
class Checkpoint:
    """The first ``length`` bytes of a file, with the CRC-32 ``crc``, are the metrics of ``topic`` before ``positions``.

    ``begins`` are the positions at which the file begins: earlier metrics are in finished files. ``span`` is the time that
    the file covers; None if no line has a time. ``finishing_as`` is the new name of a file that is being finished.
    """

    cluster_id: str
    topic: str
    length: int
    crc: int
    positions: Mapping[int, Position]
    begins: Mapping[int, Position] = field(default_factory=dict)
    span: Span | None = None
    finishing_as: str | None = None

    def extended(self, data: bytes, positions: Mapping[int, Position], span: Span | None = None) -> "Checkpoint":
        """The checkpoint after ``data``, which covers ``span``, was appended."""
        return replace(
            self,
            length=self.length + len(data),
            crc=zlib.crc32(data, self.crc),
            positions={**self.positions, **positions},
            span=self.span.joined(span) if self.span else span,
        )

    def emptied(self, positions: Mapping[int, Position]) -> "Checkpoint":
        """The checkpoint of an empty file that continues from ``positions``."""
        return Checkpoint(self.cluster_id, self.topic, 0, 0, positions, positions)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as one line of JSON with its own checksum, since a single wrong digit would lose metrics."""
    fields: dict[str, object] = {
        "version": _VERSION,
        "cluster_id": checkpoint.cluster_id,
        "topic": checkpoint.topic,
        "length": checkpoint.length,
        "crc32": checkpoint.crc,
        "positions": _encoded(checkpoint.positions),
    }
    # Without rotation the checkpoint has the format of sinks that do not have this feature yet.
    if checkpoint.begins:
        fields["begins"] = _encoded(checkpoint.begins)
    if checkpoint.span:
        fields["span"] = list(checkpoint.span)
    if checkpoint.finishing_as:
        fields["finishing_as"] = checkpoint.finishing_as
    return orjson.dumps(fields | {"checksum": _checksum(fields)}, option=orjson.OPT_APPEND_NEWLINE)


def _encoded(positions: Mapping[int, Position]) -> dict[str, dict[str, int]]:
    return {
        str(partition): {"next_offset": position.next_offset, "crc32_before": position.crc}
        for partition, position in sorted(positions.items())
    }


def _checksum(fields: dict[str, object]) -> int:
    return zlib.crc32(orjson.dumps(fields))


def decode_checkpoint(data: bytes) -> Checkpoint:
    """The checkpoint in ``data``; raises ``DamagedCheckpointError`` unless it is exactly in the encoded form."""
    try:
        fields = orjson.loads(data)
        if fields.pop("checksum") != _checksum(fields):
            raise DamagedCheckpointError("its checksum is wrong")
        if fields["version"] != _VERSION:
            raise DamagedCheckpointError(f"version {fields['version']!r} is unknown")
        span, finishing_as = fields.get("span"), fields.get("finishing_as")
        return Checkpoint(
            _text(fields["cluster_id"]),
            _text(fields["topic"]),
            _count(fields["length"]),
            _count(fields["crc32"]),
            _positions(fields["positions"]),
            _positions(fields.get("begins", {})),
            None if span is None else _span(span),
            None if finishing_as is None else _file_name(finishing_as),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{type(error).__name__}: {error}") from error


def _positions(fields: Any) -> dict[int, Position]:
    return {
        _partition(key): Position(_count(position["next_offset"]), _count(position["crc32_before"]))
        for key, position in fields.items()
    }


def _span(fields: Any) -> Span:
    first_s, last_s = map(_count, fields)
    if not first_s <= last_s <= LAST_SECOND:
        raise ValueError(f"there is no time from {first_s} to {last_s}")
    return Span(first_s, last_s)


def _file_name(value: Any) -> str:
    name = _text(value)
    if not name or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return name


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
    """Replace the checkpoint at ``path`` atomically: after a crash there is either the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    # Created each time: a file that an earlier run left behind may belong to another user.
    disk.remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        disk.append(descriptor, encode_checkpoint(checkpoint))
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    disk.rename(temporary, path)
    disk.sync_directory(path.parent)
