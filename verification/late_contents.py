"""Compares late orders' fields with those of the processed orders that they are copies of."""

from collections.abc import Iterator

from verification.reference_processor import Order


class LateContents:
    """The ``rest`` of late orders for which no processed order with equal fields has been seen, by identity."""

    def __init__(self) -> None:
        self._rests: dict[bytes, list[int]] = {}

    def add(self, late: Order) -> None:
        """Add an order of ``late-orders``."""
        self._rests.setdefault(late.identity, []).append(late.rest)

    def match(self, processed: Order) -> None:
        """Take out one late order whose fields are those of ``processed``."""
        rests = self._rests.get(processed.identity)
        if rests and processed.rest in rests:
            rests.remove(processed.rest)

    def changed(self) -> Iterator[tuple[bytes, int]]:
        """The identity of late orders whose fields no processed order has, with their number."""
        return ((identity, len(rests)) for identity, rests in self._rests.items() if rests)
