"""The stream of records for ``orders``, pure: the same seed and start give the same records, whoever takes them when."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import orjson

from libs.events.dead_letters import Reason
from services.generator.faults import Saboteur
from services.generator.traffic import Arrivals, RateRange, Shop


class OrderRecord(NamedTuple):
    """Key and value as they go to Kafka; ``fault`` says how the order was broken, if it was."""

    key: bytes
    value: bytes | None
    fault: Reason | None


class OrderStream:
    """Records in the order of their arrival.

    Arrivals, orders and faults draw from sources of their own: breaking some orders, or another rate, leaves all else
    as it was.

    Args:
        rate: orders a second.
        faults: the share of broken orders, by kind.
        seed: repeats the stream.
        start_ms: event time of the beginning, epoch milliseconds.
        now_s: the wall clock at the start, epoch seconds.
    """

    def __init__(
        self, *, rate: RateRange, faults: Mapping[Reason, float], seed: int, start_ms: int, now_s: float
    ) -> None:
        self._arrivals = Arrivals(rate, start_ms, Random(f"arrivals {seed}"))  # noqa: S311 - repeatable on purpose
        self._shop = Shop(Random(f"orders {seed}"))  # noqa: S311
        self._saboteur = Saboteur(faults, now_s, Random(f"faults {seed}"))  # noqa: S311
        self.due_ms = self._arrivals.next_ms()
        """When the next order arrives, epoch milliseconds."""

    def take(self) -> OrderRecord:
        """The next record."""
        order = self._shop.order(self.due_ms)
        self.due_ms = self._arrivals.next_ms()
        fault = self._saboteur.choose()
        value = orjson.dumps(order) if fault is None else self._saboteur.spoil(order, fault)
        return OrderRecord(order["order_id"].encode(), value, fault)
