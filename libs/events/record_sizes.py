"""The size of a record as the broker counts it: ``max.message.bytes`` limits a record batch."""

from collections.abc import Iterable

_BATCH_OVERHEAD = 61  # of version 2 (KIP-98)
_ATTRIBUTES_AND_DELTAS = 3  # of the batch's first record: each takes a byte
_MOST_OF_TWO_LENGTHS = 10  # varints of 32 bits
_NULL = 1  # the length -1, as a varint


def batch_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """The size of an uncompressed batch with this record only, in bytes."""
    all_headers = list(headers)
    record = _ATTRIBUTES_AND_DELTAS + _field(key) + _field(value) + _varint(len(all_headers))
    record += sum(_field(name.encode()) + _field(of_header) for name, of_header in all_headers)
    return _BATCH_OVERHEAD + _varint(record) + record


def at_most_bytes(value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """An upper bound of the size of value and headers, ten times as fast to compute."""
    size = len(value)
    for name, content in headers:
        size += _MOST_OF_TWO_LENGTHS + 4 * len(name) + (len(content) if content else 0)
    return size


def _field(content: bytes | None) -> int:
    return _NULL if content is None else _varint(len(content)) + len(content)


def _varint(number: int) -> int:
    """The length in bytes of a non-negative number as a ZigZag varint: seven bits a byte."""
    return max(((number << 1).bit_length() + 6) // 7, 1)
