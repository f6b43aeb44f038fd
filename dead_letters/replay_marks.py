"""``dead-letters-replayed``: a replay mark for each replayed letter, written in the same transaction as the replay.

A mark's key is its letter's place. Places repeat if ``orders-dlq`` is deleted and recreated, so a mark also has the letter's
fingerprint, and is valid for that letter only.
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
    """The set of replayed letters; takes about 200 bytes for each."""

    def __init__(self) -> None:
        self._fingerprints: dict[int, int] = {}

    def add(self, place: Place, mark: ReplayMark | None) -> None:
        """Add the next mark; it replaces an earlier one of the same place."""
        if mark is None:
            self._fingerprints.pop(_packed(place), None)
        else:
            self._fingerprints[_packed(place)] = mark.fingerprint

    def __contains__(self, letter: DeadLetter) -> bool:
        fingerprint = self._fingerprints.get(_packed(letter.place))
        return fingerprint is not None and fingerprint == letter.fingerprint()


def _packed(place: Place) -> int:
    return place.partition << _OFFSET_BITS | place.offset
