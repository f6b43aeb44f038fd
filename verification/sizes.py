"""Determines which records may have been too large for the topics of their derived records."""

from collections.abc import Iterable
from typing import NamedTuple

DECLARED_BYTES = 2 * 1024 * 1024
"""``max.message.bytes`` of the derived topics as the services create them."""

_SMALLEST_BYTES = 256 * 1024  # the services ignore smaller limits
_MOST_ADDED_BYTES = 64 * 1024  # by a product's fields, or by the headers of a dead letter


class SizeLimits(NamedTuple):
    """The sizes in bytes from which on a record may not have fitted into a derived topic.

    The limit may have been different when the record was processed, since raising it is the usual fix. So the smaller of the
    declared and the current limit is used, and from that size on either result is correct.
    """

    processed_order: int
    dead_letter: int


def size_limits(processed_orders: int | None, late_orders: int | None, orders_dlq: int | None) -> SizeLimits:
    """The sizes for the topics' ``max.message.bytes``; None for an unknown one."""

    def may_not_fit(*limits: int | None) -> int:
        smallest = min([DECLARED_BYTES, *(limit for limit in limits if limit is not None)])
        return max(smallest, _SMALLEST_BYTES) - _MOST_ADDED_BYTES

    # An order may also have to fit into late-orders.
    return SizeLimits(may_not_fit(processed_orders, late_orders), may_not_fit(orders_dlq))


def record_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """The size of a record's key, value and headers in bytes."""
    of_headers = sum(len(name.encode()) + len(content or b"") for name, content in headers)
    return len(key or b"") + len(value or b"") + of_headers
