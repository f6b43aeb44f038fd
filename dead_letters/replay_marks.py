"""``dead-letters-replayed``: a mark for each letter that was replayed, written in the transaction that replayed it.

A mark stands under its letter's place. Places come again when ``orders-dlq`` is deleted and made anew, so a mark also
holds the letter's fingerprint, and holds for that letter only.
"""

from typing import NamedTuple

import orjson

from dead_letters.dead_letter import DeadLetter, Place, parse_place
from libs.runtime.errors import PipelineError

_OFFSET_BITS = 60


class Mark(NamedTuple):
    """When a letter was replayed (epoch seconds), and where in ``orders`` it stands since."""

    fingerprint: int
    replayed_at_s: float
    partition: int
    offset: int


class DamagedMarkError(PipelineError):
    """A mark cannot be read, so that nobody knows whether its letter was replayed."""


def mark_key(place: Place) -> bytes:
    """The record's key."""
    return str(place).encode()


def encode_mark(mark: Mark) -> bytes:
    """The record's JSON value."""
    return orjson.dumps(
        {
            "fingerprint": f"{mark.fingerprint:016x}",
            "replayed_at": mark.replayed_at_s,
            "partition": mark.partition,
            "offset": mark.offset,
        }
    )


def decode_mark(key: bytes | None, value: bytes | None) -> tuple[Place, Mark | None]:
    """The letter's place and its mark, None for a mark that was taken back by hand.

    Raises:
        DamagedMarkError: nothing of the kind stands there.
    """
    try:
        place = parse_place((key or b"").decode())
        if value is None:
            return place, None
        fields = orjson.loads(value)
        return place, Mark(
            int(fields["fingerprint"], 16),
            float(fields["replayed_at"]),
            int(fields["partition"]),
            int(fields["offset"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedMarkError(
            f"a mark cannot be read: key {key!r:.80}, value {value!r:.200}: {error!r}",
            advice="another program has written into dead-letters-replayed; delete that record there",
        ) from error


class Replayed:
    """Which letters have been replayed: about 200 bytes for each."""

    def __init__(self) -> None:
        self._fingerprints: dict[int, int] = {}

    def add(self, place: Place, mark: Mark | None) -> None:
        """Take in the next mark; a later one under the same place counts."""
        if mark is None:
            self._fingerprints.pop(_packed(place), None)
        else:
            self._fingerprints[_packed(place)] = mark.fingerprint

    def __contains__(self, letter: DeadLetter) -> bool:
        fingerprint = self._fingerprints.get(_packed(letter.place))
        return fingerprint is not None and fingerprint == letter.fingerprint()


def _packed(place: Place) -> int:
    return place.partition << _OFFSET_BITS | place.offset
