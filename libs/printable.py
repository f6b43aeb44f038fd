"""Bytes, times and places as printable text, without control sequences that a terminal would execute."""

import re
from datetime import UTC, datetime

import orjson

_NONE = "(none)"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\{\s*\}|\[\s*\]|[\[\]{},:]|[^\s"\[\]{},:]+')


def printable(value: bytes | str | None, most_chars: int | None = None) -> str:
    """``value`` with escapes for non-printable characters, truncated after ``most_chars``; None is ``(none)``."""
    if value is None:
        return _NONE
    # A character takes four bytes at most, so later bytes need not be decoded.
    head = value if most_chars is None else value[: 4 * most_chars]
    text = head.decode(errors="backslashreplace") if isinstance(head, bytes) else head
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    if most_chars is None or (len(escaped) <= most_chars and len(head) == len(value)):
        return escaped
    return escaped[: most_chars - 1] + "…"


def pretty(value: bytes | None) -> str:
    """``value`` as printable text: JSON indented, anything else unchanged.

    JSON tokens are kept as they were sent: the fault may be a repeated field, or the digits of a number.
    """
    try:
        orjson.loads(value or b"")
    except ValueError:
        return printable(value)
    lines, depth = [""], 0
    for piece in _TOKEN.findall((value or b"").decode()):
        if piece in "]}":
            depth -= 1
            lines.append("  " * depth)
        lines[-1] += printable(piece)
        if piece in "[{":
            depth += 1
        if piece in "[{,":
            lines.append("  " * depth)
        elif piece == ":":
            lines[-1] += " "
    return "\n".join(lines)


def time_of(epoch_ms: float, timespec: str = "seconds") -> str:
    """UTC, as ``2026-01-31 23:59:59Z``; for a number out of range, a text that says so."""
    try:
        moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{epoch_ms} ms"
    return moment.isoformat(" ", timespec).replace("+00:00", "Z")
