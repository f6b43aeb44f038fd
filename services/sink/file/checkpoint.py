"""The small file beside the metrics that says up to where they are complete, and where in the topic to go on."""

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
from services.sink.topic_reader import Position

_VERSION = 1
_MAX_BYTES = 1024 * 1024  # far more than a thousand partitions need; what is longer is no checkpoint


class DamagedCheckpointError(PipelineError):
    """The checkpoint cannot be understood."""


@dataclass(frozen=True)
class Checkpoint:
    """A file's first ``length`` bytes, whose CRC-32 is ``crc``, are ``topic``'s metrics before ``positions``.

    ``begins`` are the positions at which the file begins: what came before stands in finished files. ``span`` is the time
    that the file covers; None if no line says. ``finishing_as`` is the name that the file is being given, while it is.
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
        """The checkpoint of an empty file that goes on from ``positions``."""
        return Checkpoint(self.cluster_id, self.topic, 0, 0, positions, positions)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as one line of JSON, with a checksum of its own: one wrong digit would cost metrics."""
    fields: dict[str, object] = {
        "version": _VERSION,
        "cluster_id": checkpoint.cluster_id,
        "topic": checkpoint.topic,
        "length": checkpoint.length,
        "crc32": checkpoint.crc,
        "positions": _encoded(checkpoint.positions),
    }
    # A sink that knows nothing of rotation reads the checkpoint of a file that is not rotated.
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
    """The checkpoint in ``data``; raises ``DamagedCheckpointError`` unless it is one to the letter."""
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
