"""The stream of records for ``orders``, without I/O: the same seed and start give the same records."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import orjson

from libs.events.dead_letters import Reason
from services.generator.faults import FaultInjector
from services.generator.traffic import Arrivals, RateRange, Shop


class OrderRecord(NamedTuple):
    """Key and value of the Kafka record; ``fault`` is the injected fault, None if there is none."""

    key: bytes
    value: bytes | None
    fault: Reason | None


class OrderStream:
    """Records in the order of their arrival.

    Arrivals, orders and faults each have a random generator of their own: with other faults or another rate, everything
    else stays the same.

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
        self._fault_injector = FaultInjector(faults, now_s, Random(f"faults {seed}"))  # noqa: S311
        self.due_ms = self._arrivals.next_ms()
        """When the next order arrives, epoch milliseconds."""

    def take(self) -> OrderRecord:
        """The next record."""
        order = self._shop.order(self.due_ms)
        self.due_ms = self._arrivals.next_ms()
        fault = self._fault_injector.choose()
        value = orjson.dumps(order) if fault is None else self._fault_injector.inject(order, fault)
        return OrderRecord(order["order_id"].encode(), value, fault)
