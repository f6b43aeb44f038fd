"""Parses dead letters of ``orders-dlq``, also those with damaged headers."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from libs.events.dead_letters import HEADERS, VALUE_SHA256, Rejection, read_dead_letter_headers
from libs.runtime.records import LocatedRecord

DAMAGED = "damaged_headers"
"""The reason of a letter with damaged headers."""

_PLACE = re.compile(r"([0-9]{1,6})/([0-9]{1,18})")

Headers = tuple[tuple[str, bytes | None], ...]


class Place(NamedTuple):
    """A letter's partition and offset in ``orders-dlq``, which identify it for the user: ``3/1207``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


def parse_place(text: str) -> Place:
    """Parse a place; raises ``ValueError`` if ``text`` is not one."""
    match = _PLACE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no place of a dead letter: partition/offset, as in 3/1207")
    return Place(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter with its parsed headers; if they are damaged, ``rejection`` is None and ``damage`` says how.

    ``timestamp_ms`` is the rejected record's own.
    """

    place: Place
    rejection: Rejection | None
    damage: str
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def reason(self) -> str:
        return self.rejection.reason if self.rejection else DAMAGED

    @property
    def message(self) -> str:
        return self.rejection.message if self.rejection else self.damage

    def other_headers(self) -> Headers:
        """All headers that are not in the contract, and those that cannot be read."""
        return (
            self.headers if self.rejection is None else tuple(each for each in self.headers if each[0] not in HEADERS)
        )

    def is_without_value(self) -> bool:
        """Whether the record was too large to be kept: the headers have the size and digest of its value instead."""
        return self.value is None and any(name == VALUE_SHA256 for name, _ in self.headers)

    def fingerprint(self) -> int:
        """A 64-bit digest of the rejected record and where it came from.

        The letters of one record have the same, also in a recreated topic, with another reason or with another message. With damaged headers
        it is the former fingerprint.
        """
        if self.rejection is None:
            return self.former_fingerprint()
        source = f"{self.rejection.topic}/{self.rejection.partition}/{self.rejection.offset}".encode()
        return self._digest(source, self.key, self.value)

    def former_fingerprint(self) -> int:
        """As versions before 0.2 compute it: of everything but the letter's own place, so of the rejection's message, too."""
        return self._digest(
            self.key, self.value, *(part for name, value in self.headers for part in (name.encode(), value))
        )

    def _digest(self, *parts: bytes | None) -> int:
        digest = blake2b(digest_size=8)
        for part in parts:
            digest.update(b"-" if part is None else b"%d:" % len(part) + part)
        digest.update(b"%d" % self.timestamp_ms)
        return int.from_bytes(digest.digest())


def read_letter(record: LocatedRecord) -> DeadLetter:
    """Parse the letter in ``record``; damaged headers are not an error."""
    rejection, damage = None, ""
    try:
        rejection = read_dead_letter_headers(record.headers)
    except ValueError as error:
        damage = str(error)
    return DeadLetter(
        Place(record.partition, record.offset),
        rejection,
        damage,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )
