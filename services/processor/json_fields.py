"""Taking fields out of a JSON object's text, and leaving every other byte of it as it is."""

from collections.abc import Container
from json import JSONDecoder

_DECODER = JSONDecoder(parse_int=str, parse_float=str)  # only where a value ends is asked: no number need be made


def without_fields(value: bytes, names: Container[str]) -> bytes:
    """The JSON object ``value`` without its fields ``names``."""
    text = value.decode()
    kept: list[str] = []
    position = text.index("{")
    while text[position] != "}":
        start = position + 1
        name, position = _DECODER.raw_decode(text, text.index('"', start))
        _, position = _DECODER.raw_decode(text, _after_space(text, text.index(":", position) + 1))
        position = _after_space(text, position)
        if name not in names:
            kept.append(text[start:position])
    return f"{{{','.join(kept)}}}".encode()


def _after_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position
