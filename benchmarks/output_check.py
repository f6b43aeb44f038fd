"""Compares a contender's output with the expected one. Without I/O."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.orders import WINDOW_S, Window, Workload

_NUMBER_DIGITS = 8
_ROUNDED_CENTS = 0.5 + 1e-6


@dataclass
class OrdersCheck:
    """Takes in what the processor wrote, record by record."""

    workload: Workload
    duplicated: int = 0
    wrong: int = 0
    foreign: int = 0
    _seen: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self._seen = bytearray(self.workload.count)

    def processed(self, value: bytes) -> bool:
        """Add a record of `processed-orders`; returns whether it belongs to the workload (closing events do not)."""
        order = orjson.loads(value)
        try:
            number = int(order["order_id"][-_NUMBER_DIGITS:], 16)
            fingerprint = hash(
                (
                    order["order_id"],
                    order["user_id"],
                    order["product_id"],
                    order["amount"],
                    order["timestamp"],
                    order["product_name"],
                    order["category"],
                )
            )
        except (KeyError, TypeError, ValueError):
            self.foreign += 1
            return True
        return self._add(number, fingerprint)

    def dead_letter(self, key: bytes | None, value: bytes | None) -> bool:
        """Add a record of `orders-dlq`; returns whether it belongs to the workload."""
        try:
            number = int((key or b"")[-_NUMBER_DIGITS:], 16)
        except ValueError:
            self.foreign += 1
            return True
        return self._add(number, hash(value))

    def _add(self, number: int, fingerprint: int) -> bool:
        if number >= self.workload.count:
            return False
        if self._seen[number]:
            self.duplicated += 1
        else:
            self._seen[number] = 1
        # The fingerprint of a valid order is of its fields, that of a faulty one of its bytes, so a record in the wrong topic
        # does not match.
        if self.workload.fingerprints[number] != fingerprint:
            self.wrong += 1
        return True

    @property
    def lost(self) -> int:
        return self.workload.count - sum(self._seen)

    def differences(self) -> "Differences":
        return Differences(
            {"lost": self.lost, "duplicated": self.duplicated, "wrong": self.wrong, "foreign": self.foreign}, "orders"
        )


@dataclass
class WindowsCheck:
    """Takes in what the analytics wrote, record by record."""

    workload: Workload
    duplicated: int = 0
    foreign: int = 0
    _first: dict[Window, tuple[int, int]] = field(default_factory=dict)

    def metric(self, value: bytes) -> bool:
        """Add a record of `product-metrics`; returns whether it belongs to the workload (windows of closing events do not)."""
        try:
            window, count, cents = _read_metric(orjson.loads(value))
        except (KeyError, TypeError, ValueError):
            self.foreign += 1
            return True
        if window[1] >= self.workload.end_s:
            return False
        if window in self._first:
            self.duplicated += 1
        else:
            self._first[window] = (count, cents)
        return True

    @property
    def complete(self) -> bool:
        """Whether there is a metric for each window, correct or not."""
        return self.workload.windows.keys() <= self._first.keys()

    @property
    def missing_orders(self) -> int:
        """The number of orders that are in no metric, summed over all windows."""
        return sum(
            max(count - self._first.get(window, (0, 0))[0], 0) for window, (count, _) in self.workload.windows.items()
        )

    def differences(self) -> "Differences":
        truth = self.workload.windows
        differences = {
            "lost": len(truth.keys() - self._first.keys()),
            "duplicated": self.duplicated,
            "wrong": sum(1 for window, total in self._first.items() if window in truth and truth[window] != total),
            "foreign": self.foreign + len(self._first.keys() - truth.keys()),
        }
        return Differences(differences, "windows")


def _read_metric(metric: Any) -> tuple[Window, int, int]:
    """A metric's window, count and cents; differences below a cent, from sums of floats, are ignored.

    Raises:
        ValueError: its end or its average contradicts the other fields.
    """
    window = (metric["product_id"], round(metric["window_start"]))
    count, cents = metric["order_count"], round(metric["total_revenue"] * 100)
    if round(metric["window_end"]) != window[1] + WINDOW_S:
        raise ValueError("not a minute")
    if count < 1 or abs(metric["avg_order_value"] * 100 - cents / count) > _ROUNDED_CENTS:
        raise ValueError("not the average")
    return window, count, cents


@dataclass(frozen=True)
class Differences:
    """Counts of differences by kind; ``of`` names what is counted. Exact if there are none."""

    counts: dict[str, int]
    of: str

    @property
    def exact(self) -> bool:
        return not any(self.counts.values())

    def __str__(self) -> str:
        if self.exact:
            return "exact"
        return ", ".join(f"{number:,} {self.of} {how}" for how, number in self.counts.items() if number)


def joined(differences: list[Differences]) -> str:
    """The differences of several runs as one text."""
    if all(each.exact for each in differences):
        return "exact"
    counts = Counter(str(each) for each in differences if not each.exact)
    return "; ".join(
        phrase if len(differences) == 1 else f"{phrase} ({number} of {len(differences)} runs)"
        for phrase, number in counts.items()
    )
