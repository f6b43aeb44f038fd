"""``dead-letters-replayed``: a replay mark for each replayed letter, written in the same transaction as the replay.

A mark's key is its letter's place and fingerprint. If ``orders-dlq`` is deleted and recreated, as by ``pipeline recompute``, other letters
are at the old places, and the same letters at other places. So a mark is valid for the letter with its fingerprint, wherever that is. Versions
before 0.2 compute it differently, and write no fingerprint into the key, so compaction keeps only the newest of their marks of a place.
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


class MarkKey(NamedTuple):
    """``fingerprint`` is None in a key of a version before 0.2."""

    place: Place
    fingerprint: int | None


class DamagedReplayMarkError(PipelineError):
    """A replay mark cannot be decoded, so it is unknown whether its letter was replayed."""


def encode_key(letter: DeadLetter) -> bytes:
    """The record's key, as in ``3/1207/00f0c1d2e3a4b596``."""
    return f"{letter.place}/{letter.fingerprint():016x}".encode()


def _decode_key(key: bytes | None) -> MarkKey:
    partition, _, rest = (key or b"").decode().partition("/")
    offset, found, fingerprint = rest.partition("/")
    return MarkKey(parse_place(f"{partition}/{offset}"), int(fingerprint, 16) if found else None)


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


def decode_mark(key: bytes | None, value: bytes | None) -> tuple[MarkKey, ReplayMark | None]:
    """The key and the mark; None for a tombstone, by which a user has removed the mark.

    Raises:
        DamagedReplayMarkError: the record is not a replay mark.
    """
    try:
        mark_key = _decode_key(key)
        if value is None:
            return mark_key, None
        fields = orjson.loads(value)
        return mark_key, ReplayMark(
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
        self._newest: dict[int, int] = {}  # fingerprint by place, of keys without a fingerprint

    def add(self, key: MarkKey, mark: ReplayMark | None) -> None:
        """Add the next mark. A tombstone removes that of its fingerprint, or the newest one of its place."""
        if mark is not None:
            self._marks[mark.fingerprint] = mark
            if key.fingerprint is None:
                self._newest[_packed(key.place)] = mark.fingerprint
            return
        fingerprint = self._newest.pop(_packed(key.place), None) if key.fingerprint is None else key.fingerprint
        if fingerprint is not None:
            self._marks.pop(fingerprint, None)

    def mark_of(self, letter: DeadLetter) -> ReplayMark | None:
        """The mark of ``letter``; None if it was not replayed."""
        return self._marks.get(letter.fingerprint()) or self._marks.get(letter.former_fingerprint())

    def __contains__(self, letter: DeadLetter) -> bool:
        return self.mark_of(letter) is not None


def _packed(place: Place) -> int:
    return place.partition << _OFFSET_BITS | place.offset
