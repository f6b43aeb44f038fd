"""Changes fields in the text of a JSON object, and leaves all other bytes unchanged."""

from collections.abc import Container, Iterator
from json import JSONDecoder
from typing import NamedTuple

_DECODER = JSONDecoder(parse_int=str, parse_float=str)  # only the end of a value is needed: skip number conversion


class _Field(NamedTuple):
    """A field's name, and positions in the text: start of the field, start and end of its value, end of the field."""

    name: str
    start: int
    value_start: int
    value_end: int
    end: int


def without_fields(value: bytes, names: Container[str]) -> bytes:
    """The JSON object ``value`` without its fields ``names``."""
    text = value.decode()
    kept = [text[field.start : field.end] for field in _fields(text) if field.name not in names]
    return f"{{{','.join(kept)}}}".encode()


def with_field(value: bytes, name: str, json: bytes) -> bytes:
    """The JSON object ``value`` with the text ``json`` in place of the value of its field ``name``."""
    text = value.decode()
    field = next(field for field in _fields(text) if field.name == name)
    return text[: field.value_start].encode() + json + text[field.value_end :].encode()


def _fields(text: str) -> Iterator[_Field]:
    position = text.index("{")
    while text[position] != "}":
        start = position + 1
        name, position = _DECODER.raw_decode(text, text.index('"', start))
        value_start = _after_space(text, text.index(":", position) + 1)
        _, value_end = _DECODER.raw_decode(text, value_start)
        position = _after_space(text, value_end)
        yield _Field(name, start, value_start, value_end, position)


def _after_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position
