"""Determines the transaction of a request, as far as the protocol shows it."""

from dataclasses import dataclass

from tests.kafka_proxy.wire_format import Api, Producer, Request


@dataclass
class Transaction:
    """One transaction of one producer. ``number`` counts all producers' transactions in the order of their beginning.

    ``sources`` are the partitions whose offsets the producer commits, as last seen, also in an earlier transaction.
    """

    number: int
    producer: Producer
    sources: frozenset[tuple[str, int]] = frozenset()
    ending: bool = False

    def may_follow(self, earlier: "Transaction") -> bool:
        """Whether this transaction may be a successor of ``earlier``.

        That is if it began later, and is of the same producer or commits offsets of the same partitions. A producer whose
        partitions are not known yet may have taken them over.
        """
        if self.number <= earlier.number:
            return False
        if self.producer == earlier.producer:
            return True
        return not self.sources.isdisjoint(earlier.sources) if self.sources else True


class Transactions:
    """Tracks the transactions of all producers by their requests."""

    def __init__(self) -> None:
        self._count = 0
        self._current: dict[Producer, Transaction] = {}

    def of(self, request: Request) -> Transaction:
        """The transaction of ``request``; the first request after an EndTxn begins the next."""
        current = self._current.get(request.producer)
        if current is None or (current.ending and request.api is not Api.END_TXN):
            self._count += 1
            sources = current.sources if current else frozenset()
            current = self._current[request.producer] = Transaction(self._count, request.producer, sources)
        if request.sources:
            current.sources = request.sources
        current.ending = request.api is Api.END_TXN
        return current
