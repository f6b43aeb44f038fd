"""Makes faulty orders on purpose, without I/O: records that the processor rejects, for each reason."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import orjson

from libs.events.dead_letters import Reason
from services.generator.traffic import Order

# A day: an order one hour ahead would be valid for a processor that reads it after an outage of an hour.
_AHEAD_S = 86_400

KINDS = tuple(reason for reason in Reason if reason is not Reason.TOO_LARGE)
"""The kinds of faults. TOO_LARGE is not one of them: it depends on the topics' limits."""

Fields = dict[str, Any]


class FaultInjector:
    """Decides which orders get a fault, and applies it.

    ``shares`` gives the probability of each kind; ``now_s`` is the wall clock at the start, which in a backfill is
    later than the orders' timestamps.
    """

    def __init__(self, shares: Mapping[Reason, float], now_s: float, rng: Random) -> None:
        self._shares = shares
        self._now_s = now_s
        self._rng = rng
        self._total = sum(shares.values())

    def choose(self) -> Reason | None:
        """The fault of the next order; None: it stays valid."""
        if not self._total:
            return None
        draw = self._rng.random()
        if draw >= self._total:
            return None
        for reason, share in self._shares.items():
            draw -= share
            if draw < 0:
                return reason
        return None

    def inject(self, order: Order, reason: Reason) -> bytes | None:
        """The record's value: ``order`` with one fault, which is rejected for ``reason``."""
        if reason is Reason.MALFORMED:
            return self._rng.choice(_MALFORMED)(orjson.dumps(order))
        fields: Fields = {**order}
        match reason:
            case Reason.MISSING_FIELD:
                del fields[self._rng.choice(list(fields))]
            case Reason.WRONG_TYPE:
                name, value = self._rng.choice(_WRONG_TYPES)
                fields[name] = value
            case Reason.INVALID_ID:
                fields[self._rng.choice(("order_id", "user_id"))] = self._rng.choice(("", "x" * 65, "x" * 10_000))
            case Reason.UNKNOWN_PRODUCT:
                fields["product_id"] = self._rng.choice(("prod-0", "prod-99", "PROD-1"))
            case Reason.INVALID_AMOUNT:
                fields["amount"] = self._rng.choice((0, -order["amount"], round(order["amount"] + 0.001, 3), 1e15))
            case Reason.INVALID_TIMESTAMP:
                fields["timestamp"] = -order["timestamp"]
            case Reason.FUTURE_TIMESTAMP:
                fields["timestamp"] = round(max(self._now_s, order["timestamp"]) + _AHEAD_S, 3)
        return orjson.dumps(fields)


_MALFORMED: tuple[Callable[[bytes], bytes | None], ...] = (
    lambda value: value[: len(value) // 2],
    lambda value: value.replace(b"user-", b"user\xff", 1),
    lambda value: b"[" + value + b"]",
    lambda value: b'{"amount":1.0,' + value[1:],
    lambda _: None,
)

_WRONG_TYPES: tuple[tuple[str, Any], ...] = (
    ("order_id", 12345),
    ("user_id", ["user-1"]),
    ("product_id", {"id": "prod-1"}),
    ("amount", "12.34"),
    ("amount", True),
    ("timestamp", "2026-01-01T00:00:00Z"),
)
