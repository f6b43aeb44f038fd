"""``dead-letters-replayed``: a replay mark for each replayed letter, written in the same transaction as the replay.

A mark's key is its letter's place. If ``orders-dlq`` is deleted and recreated, as by ``pipeline recompute``, other letters are at the old
places, and the same letters at other places. So a mark also has the letter's fingerprint, and is valid for that letter, wherever it is.
"""

from typing import NamedTuple

import orjson

from dead_letters.dead_letter import DeadLetter, Place, parse_place
from libs.runtime.errors import PipelineError

_OFFSET_BITS = 60


class ReplayMark(NamedTuple):
    """When a letter was replayed (epoch seconds), and its new position in ``orders``."""

    fingerprint: int
    replayed_at_s: float
    partition: int
    offset: int


class DamagedReplayMarkError(PipelineError):
    """A replay mark cannot be decoded, so it is unknown whether its letter was replayed."""


def mark_key(place: Place) -> bytes:
    """The record's key."""
    return str(place).encode()


def encode_mark(mark: ReplayMark) -> bytes:
    """The record's JSON value."""
    return orjson.dumps(
        {
            "fingerprint": f"{mark.fingerprint:016x}",
            "replayed_at": mark.replayed_at_s,
            "partition": mark.partition,
            "offset": mark.offset,
        }
    )


def decode_mark(key: bytes | None, value: bytes | None) -> tuple[Place, ReplayMark | None]:
    """The letter's place and its mark; None for a tombstone, by which a user has removed the mark.

    Raises:
        DamagedReplayMarkError: the record is not a replay mark.
    """
    try:
        place = parse_place((key or b"").decode())
        if value is None:
            return place, None
        fields = orjson.loads(value)
        return place, ReplayMark(
            int(fields["fingerprint"], 16),
            float(fields["replayed_at"]),
            int(fields["partition"]),
            int(fields["offset"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedReplayMarkError(
            f"a mark cannot be read: key {key!r:.80}, value {value!r:.200}: {error!r}",
            advice="another program has written into dead-letters-replayed; delete that record there",
        ) from error


class Replayed:
    """The set of replayed letters, with the newest mark of each; takes about 300 bytes for each."""

    def __init__(self) -> None:
        self._marks: dict[int, ReplayMark] = {}
        self._newest: dict[int, int] = {}  # fingerprint by place

    def add(self, place: Place, mark: ReplayMark | None) -> None:
        """Add the next mark. A tombstone removes the newest mark of its place."""
        if mark is not None:
            self._marks[mark.fingerprint] = mark
            self._newest[_packed(place)] = mark.fingerprint
        elif (fingerprint := self._newest.pop(_packed(place), None)) is not None:
            self._marks.pop(fingerprint, None)

    def mark_of(self, letter: DeadLetter) -> ReplayMark | None:
        """The mark of ``letter``; None if it was not replayed."""
        return self._marks.get(letter.fingerprint())

    def __contains__(self, letter: DeadLetter) -> bool:
        return self.mark_of(letter) is not None


def _packed(place: Place) -> int:
    return place.partition << _OFFSET_BITS | place.offset
