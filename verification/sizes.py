"""Determines which records may have been too large for the topics of their derived records."""

from collections.abc import Iterable

_SMALLEST_BYTES = 256 * 1024  # the services ignore smaller limits
_MOST_ADDED_BYTES = 64 * 1024  # by a product's fields, or by the headers of a dead letter

MAY_NOT_FIT_BYTES = _SMALLEST_BYTES - _MOST_ADDED_BYTES
"""The size from which on a record may not have fitted into a derived topic.

A topic's limit may have been any other one when the record was processed, since raising it is the usual fix. So from the smallest limit
on that the services use, either result is correct.
"""


def record_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """The size of a record's key, value and headers in bytes."""
    of_headers = sum(len(name.encode()) + len(content or b"") for name, content in headers)
    return len(key or b"") + len(value or b"") + of_headers
