"""Packs an order's position in ``orders`` and its ``rest`` into one integer, which saves memory for millions of orders.

From the low bits up: the ``rest`` (64 bits), the offset (48), the partition of ``orders`` (16), and the partition of
``processed-orders``. Of a matched order the complement is stored, which is negative.
"""

from typing import NamedTuple

_REST_BITS = 64
_OFFSET_BITS = 48
_PARTITION_BITS = 16
_LOW_REST = (1 << _REST_BITS) - 1
_LOW_OFFSET = (1 << _OFFSET_BITS) - 1
_LOW_PARTITION = (1 << _PARTITION_BITS) - 1
_PROCESSED_SHIFT = _REST_BITS + _OFFSET_BITS + _PARTITION_BITS


class Source(NamedTuple):
    """The position of a record of ``orders``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"orders[{self.partition}]@{self.offset}"


def pack(source: Source, rest: int, processed_partition: int = 0) -> int:
    """The integer for an order that is not matched yet."""
    position = source.partition << _OFFSET_BITS | source.offset
    return processed_partition << _PROCESSED_SHIFT | position << _REST_BITS | rest


def source_of(packed: int) -> Source:
    """The order's position; ``packed`` may be complemented."""
    position = (packed if packed >= 0 else ~packed) >> _REST_BITS
    return Source(position >> _OFFSET_BITS & _LOW_PARTITION, position & _LOW_OFFSET)


def rest_of(packed: int) -> int:
    """The ``rest`` of an order that is not complemented."""
    return packed & _LOW_REST


def processed_partition_of(packed: int) -> int:
    """The partition of ``processed-orders`` of an order that is not complemented."""
    return packed >> _PROCESSED_SHIFT
