"""Generates damaged JSON records from valid ones, by changes of structure and bytes, with a seeded generator.

A heavily damaged record is rejected by the first check. So most records are changed in one or two places only, and many stay
valid, to show that damaged ones do not affect them.
"""

import json
from collections.abc import Mapping, MutableSequence, Sequence
from random import Random
from typing import TypeVar

from tests.fuzz.pools import DEPTHS, LARGE, NO_OBJECTS, NUMBERS, OTHERS, TEXTS

Fields = Mapping[str, str]
"""A record's fields by name; each value is JSON text."""

_STEPS = (0, 0, 1, 1, 1, 2, 3)
_BYTE_DAMAGE = 0.2
_SPACES = ("", "", "", "", " ", "\n", "\t", "\r", "  \r\n")
_NO_SPACES = ("\x0b", "\x0c", "\u00a0", "\x00", "\ufeff")

_T = TypeVar("_T")
_Pairs = MutableSequence[tuple[str, str]]


class Mutator:
    """Generates randomly damaged records; the same ``random`` gives the same records.

    Args:
        random: the random generator.
        names: names of fields that may be added to those of a record.
    """

    def __init__(self, random: Random, names: Sequence[str] = ()) -> None:
        self._random = random
        self._names = (*names, "x", "y:z", "", "\u00fc", "__proto__", "a\nb")
        self._structure = (
            self._set,
            self._set,
            self._set,
            self._drop,
            self._repeat,
            self._add,
            self._add,
            self._rename,
        )

    def mutate(self, fields: Fields) -> bytes | None:
        """``fields`` as a record's value, possibly damaged; None for a record without a value."""
        random = self._random
        if random.random() < 0.003:
            return pick(random, NO_OBJECTS)
        pairs = [(json.dumps(name), text) for name, text in fields.items()]
        for _ in range(pick(random, _STEPS)):
            pick(random, self._structure)(pairs)
        if random.random() < 0.2:
            random.shuffle(pairs)
        value = self._spelled(pairs).encode(errors="surrogatepass")
        while random.random() < _BYTE_DAMAGE:
            value = damaged(value, random)
        return value

    def value(self) -> str:
        """A random JSON text, or an invalid one."""
        random = self._random
        chance = random.random()
        if chance < 0.002:
            return self._deep(pick(random, DEPTHS))
        if chance < 0.003:
            return pick(random, LARGE)
        if chance < 0.02:
            return repr(random.uniform(-1e12, 1e12))
        return pick(random, pick(random, (NUMBERS, TEXTS, OTHERS)))

    def _deep(self, depth: int) -> str:
        return pick(self._random, ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth))

    def _set(self, pairs: _Pairs) -> None:
        if pairs:
            at = self._random.randrange(len(pairs))
            pairs[at] = (pairs[at][0], self.value())

    def _drop(self, pairs: _Pairs) -> None:
        if pairs:
            del pairs[self._random.randrange(len(pairs))]

    def _repeat(self, pairs: _Pairs) -> None:
        if pairs:
            name, text = pick(self._random, pairs)
            pairs.insert(self._random.randrange(len(pairs) + 1), (name, pick(self._random, (text, self.value()))))

    def _add(self, pairs: _Pairs) -> None:
        name = pick(self._random, self._names)
        pairs.insert(self._random.randrange(len(pairs) + 1), (json.dumps(name), self.value()))

    def _rename(self, pairs: _Pairs) -> None:
        if pairs:
            at = self._random.randrange(len(pairs))
            name, text = pairs[at]
            # The same name with its first character escaped, in capitals, or an empty name.
            others = (f'"\\u{ord(name[1:2] or "x"):04x}{name[2:]}', name.upper(), name[1:-1], "1", "null")
            pairs[at] = (pick(self._random, others), text)

    def _spelled(self, pairs: Sequence[tuple[str, str]]) -> str:
        random = self._random
        if random.random() < 0.5:
            return "{" + ",".join(f"{name}:{text}" for name, text in pairs) + "}"
        spaces = _SPACES + _NO_SPACES if random.random() < 0.02 else _SPACES

        def space() -> str:
            return pick(random, spaces)

        inner = ",".join(f"{space()}{name}{space()}:{space()}{text}{space()}" for name, text in pairs)
        return f"{space()}{{{inner}}}{space()}"


def damaged(value: bytes, random: Random) -> bytes:
    """``value`` with one damage to its bytes."""
    return pick(random, _BYTES)(value, random)


def _flip(value: bytes, random: Random) -> bytes:
    if not value:
        return value
    at = random.randrange(len(value))
    return value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]


def _insert(value: bytes, random: Random) -> bytes:
    at = random.randrange(len(value) + 1)
    return value[:at] + pick(random, (b"\x00", b'"', b"\\", b",", b":", b"{", b"]", b"\xff", b"\xc0\x80")) + value[at:]


def _delete(value: bytes, random: Random) -> bytes:
    at = random.randrange(len(value) + 1)
    return value[:at] + value[at + pick(random, (1, 1, 2, 10)) :]


def _cut(value: bytes, random: Random) -> bytes:
    return value[: random.randrange(len(value) + 1)]


def _append(value: bytes, random: Random) -> bytes:
    return value + pick(random, (b"\x00", b",", b"}", b" x", b"\n{}", value, b"\xef\xbb\xbf", b"\n\n", b"\xe2\x80\xa8"))


def _prepend(value: bytes, random: Random) -> bytes:
    return pick(random, (b"\xef\xbb\xbf", b"\x00", b"[", b"\x00\x00\x00\x00\x01", b" \n", b"null")) + value


def _double(value: bytes, random: Random) -> bytes:
    start, end = sorted((random.randrange(len(value) + 1), random.randrange(len(value) + 1)))
    return value[:end] + value[start:]


def _recode(value: bytes, random: Random) -> bytes:
    return value.decode("latin-1").encode(pick(random, ("utf-16", "utf-16-be", "utf-32", "utf-8")))


def pick(random: Random, among: Sequence[_T]) -> _T:
    return among[int(random.random() * len(among))]  # a third of the time that random.choice takes


_BYTES = (_flip, _insert, _delete, _cut, _append, _prepend, _double, _recode)
