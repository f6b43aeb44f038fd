"""Which records may have been too large for what is derived from them."""

from collections.abc import Iterable
from typing import NamedTuple

DECLARED_BYTES = 2 * 1024 * 1024
"""``max.message.bytes`` of the derived topics as the services make them."""

_SMALLEST_BYTES = 256 * 1024  # no limit below is taken for a reason to refuse an order
_MOST_ADDED_BYTES = 64 * 1024  # by a product's fields, or by the headers of a dead letter


class SizeLimits(NamedTuple):
    """From which size on a record, in bytes, may not have fitted into a derived topic.

    The limit was some other one, perhaps, when the record was processed: what is too large is often cured by raising it. So
    the smaller one of the limits declared and found counts, and from there on either outcome is right.
    """

    processed_order: int
    dead_letter: int


def size_limits(processed_orders: int | None, late_orders: int | None, orders_dlq: int | None) -> SizeLimits:
    """By the ``max.message.bytes`` of the topics; None where it is unknown."""

    def may_not_fit(*limits: int | None) -> int:
        smallest = min([DECLARED_BYTES, *(limit for limit in limits if limit is not None)])
        return max(smallest, _SMALLEST_BYTES) - _MOST_ADDED_BYTES

    # An order may have to go to late-orders next.
    return SizeLimits(may_not_fit(processed_orders, late_orders), may_not_fit(orders_dlq))


def record_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """What a record has in it, in bytes."""
    of_headers = sum(len(name.encode()) + len(content or b"") for name, content in headers)
    return len(key or b"") + len(value or b"") + of_headers
