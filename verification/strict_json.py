"""A strict parser for JSON (RFC 8259) in UTF-8, with the standard library only."""

import json
from typing import Any, Never

_INFINITY = float("inf")
_MAX_DEPTH = 100


class NotAnObjectError(ValueError):
    """The bytes are not a JSON object."""


class Literal(str):
    """The text of a number; every other string is a plain ``str``."""

    __slots__ = ()


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotAnObjectError("an object names a field twice")
    return fields


def _refuse(constant: str) -> Never:
    raise NotAnObjectError(f"{constant} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_each_name_once, parse_float=Literal, parse_int=Literal, parse_constant=_refuse
)


def parse_object(raw: bytes | None) -> dict[str, Any]:
    """The fields of the object in ``raw``, numbers as ``Literal``; raises ``NotAnObjectError``."""
    if raw is None:
        raise NotAnObjectError("there is no value")
    try:
        # Decoded here: with bytes, the json module would also accept UTF-16, UTF-32 and surrogates.
        value = _DECODER.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            repr_utf8(value)  # an escape may be half of a surrogate pair, which is not valid Unicode text
    except (ValueError, RecursionError) as error:
        raise NotAnObjectError(str(error)) from error
    if type(value) is not dict:
        raise NotAnObjectError(f"a {type(value).__name__}, not an object")
    _refuse_deep(value)
    return value


def _refuse_deep(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        inner = [each for outer in level for each in (outer.values() if type(outer) is dict else outer)]
        level = [each for each in inner if type(each) in (dict, list)]
        if not level:
            return
    raise NotAnObjectError(f"nested deeper than {_MAX_DEPTH} levels")


def number(value: object) -> float | None:
    """The double nearest to a number, infinity beyond the largest; None if ``value`` is not a number."""
    return float(value) + 0.0 if type(value) is Literal else None  # adding 0.0 makes -0.0 and 0.0 the same


def overflows(value: Any) -> bool:
    """Whether a number in ``value`` is beyond the largest double: valid by the grammar, but most decoders reject it."""
    if type(value) is dict:
        return any(map(overflows, value.values()))
    if type(value) is list:
        return any(map(overflows, value))
    return number(value) in (_INFINITY, -_INFINITY)


def repr_utf8(value: Any) -> bytes:
    """A canonical form of a JSON value: names sorted, each number as its nearest double."""
    return _spell(value).encode("utf-8")


def _spell(value: Any) -> str:
    if type(value) is dict:
        return "{" + ",".join(f"{_quote(name)}:{_spell(value[name])}" for name in sorted(value)) + "}"
    if type(value) is list:
        return "[" + ",".join(map(_spell, value)) + "]"
    if type(value) is str:
        return _quote(value)
    return repr(value if (as_number := number(value)) is None else as_number)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
