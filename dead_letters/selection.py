"""Selects the letters of a replay, and checks which of them can be written back."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import orjson

from dead_letters.dead_letter import DeadLetter, Place
from dead_letters.reader import Topics
from libs.events.record_sizes import batch_bytes
from libs.runtime.records import Headers, carried_headers

FROM_HEADER = "replayed.from"

_EXAMPLES = 5


def replay_headers(letter: DeadLetter, topics: Topics) -> Headers:
    """The sender's headers, and one that names the letter that the order was replayed from.

    A record that just fitted into ``orders`` has no room for the additional header; then it is left out.
    """
    sent = carried_headers(letter.other_headers(), (FROM_HEADER,))
    origin: Headers = [(FROM_HEADER, f"{topics.letters}/{letter.place}".encode())]
    return next((headers for headers in ([*sent, *origin], sent) if _fits(letter, headers, topics)), [])


def obstacle(letter: DeadLetter, topics: Topics) -> str:
    """The reason why ``letter`` cannot be written back; empty if it can."""
    source = letter.rejection
    if source is None:
        return "their headers do not say where they came from"
    if source.topic != topics.orders:
        return f"they did not come from {topics.orders}"
    if source.partition >= topics.orders_partitions:
        return f"{topics.orders} no longer has the partition they came from"
    if letter.is_without_value():
        return "they were too large to be kept with their values; while orders has them, they can be read there"
    if not _fits(letter, (), topics):
        return f"they are larger than {topics.orders} takes"
    return ""


def _fits(letter: DeadLetter, headers: Sequence[tuple[str, bytes | None]], topics: Topics) -> bool:
    # The broker limits batches. A letter near the limit gets its own batch, uncompressed.
    return batch_bytes(letter.key, letter.value, headers) <= topics.orders_max_bytes


def window_has_ended(letter: DeadLetter, window_seconds: int, now_s: float) -> bool:
    """Whether the order's window has ended; False if the value has no readable event time."""
    try:
        timestamp_s = orjson.loads(letter.value or b"")["timestamp"]
    except (ValueError, KeyError, TypeError):
        return False
    if type(timestamp_s) not in (int, float):
        return False
    return bool(timestamp_s - timestamp_s % window_seconds + window_seconds <= now_s)


@dataclass(frozen=True)
class Selection:
    """The selected letters: those at ``places``, or else all of ``reasons``, or else all."""

    places: Collection[Place] = ()
    reasons: Collection[str] = ()

    def __contains__(self, letter: DeadLetter) -> bool:
        return not self.reasons or letter.reason in self.reasons


class Distinct:
    """Letters of different records. A record that the processor has read twice, after a reset of its offsets, has two."""

    def __init__(self) -> None:
        self._fingerprints: set[int] = set()

    def add(self, letter: DeadLetter) -> bool:
        """Add a letter; returns False if there is one of the same record."""
        fingerprint = letter.fingerprint()
        if fingerprint in self._fingerprints:
            return False
        self._fingerprints.add(fingerprint)
        return True


@dataclass
class Plan:
    """The result that a replay of a selection would have."""

    topics: Topics
    window_seconds: int
    now_s: float
    due: Counter[str] = field(default_factory=Counter)
    replayed_before: int = 0
    window_ended: int = 0
    left: Counter[str] = field(default_factory=Counter)
    left_examples: dict[str, list[Place]] = field(default_factory=dict)
    _distinct: Distinct = field(default_factory=Distinct)

    def add(self, letter: DeadLetter, *, replayed: bool) -> None:
        """Count one selected letter."""
        if replayed:
            self.replayed_before += 1
        elif why := obstacle(letter, self.topics):
            self._leave(letter, why)
        elif not self._distinct.add(letter):
            self._leave(letter, "their records have another dead letter, which is replayed")
        else:
            self.due[letter.reason] += 1
            self.window_ended += window_has_ended(letter, self.window_seconds, self.now_s)

    def _leave(self, letter: DeadLetter, why: str) -> None:
        self.left[why] += 1
        examples = self.left_examples.setdefault(why, [])
        if len(examples) < _EXAMPLES:
            examples.append(letter.place)

    @property
    def selected(self) -> int:
        return self.due.total() + self.replayed_before + self.left.total()
