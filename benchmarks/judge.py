"""Whether a contender's output is exactly what it has to be, and how it differs. Nothing here does I/O."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.orders import WINDOW_S, Window, Workload

_NUMBER_DIGITS = 8
_ROUNDED_CENTS = 0.5 + 1e-6


@dataclass
class OrdersJudge:
    """Takes in what the processor wrote, record by record."""

    workload: Workload
    duplicated: int = 0
    wrong: int = 0
    foreign: int = 0
    _seen: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self._seen = bytearray(self.workload.count)

    def processed(self, value: bytes) -> bool:
        """One record of `processed-orders`; whether it counts, which closing events do not."""
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
        return self._saw(number, fingerprint)

    def dead_letter(self, key: bytes | None, value: bytes | None) -> bool:
        """One record of `orders-dlq`; whether it counts."""
        try:
            number = int((key or b"")[-_NUMBER_DIGITS:], 16)
        except ValueError:
            self.foreign += 1
            return True
        return self._saw(number, hash(value))

    def _saw(self, number: int, fingerprint: int) -> bool:
        if number >= self.workload.count:
            return False
        if self._seen[number]:
            self.duplicated += 1
        else:
            self._seen[number] = 1
        # A valid order's fingerprint is that of its fields, a faulty one's that of its bytes: neither fits the other topic.
        if self.workload.fingerprints[number] != fingerprint:
            self.wrong += 1
        return True

    @property
    def lost(self) -> int:
        return self.workload.count - sum(self._seen)

    def verdict(self) -> "Verdict":
        return Verdict(
            {"lost": self.lost, "duplicated": self.duplicated, "wrong": self.wrong, "foreign": self.foreign}, "orders"
        )


@dataclass
class WindowsJudge:
    """Takes in what the analytics wrote, record by record."""

    workload: Workload
    duplicated: int = 0
    foreign: int = 0
    _first: dict[Window, tuple[int, int]] = field(default_factory=dict)

    def metric(self, value: bytes) -> bool:
        """One record of `product-metrics`; whether it counts, which the closing events' windows do not."""
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
        """Whether each window has come, right or wrong."""
        return self.workload.windows.keys() <= self._first.keys()

    @property
    def missing_orders(self) -> int:
        """Orders that are in no metric: what each window lacks, added up."""
        return sum(
            max(count - self._first.get(window, (0, 0))[0], 0) for window, (count, _) in self.workload.windows.items()
        )

    def verdict(self) -> "Verdict":
        truth = self.workload.windows
        differences = {
            "lost": len(truth.keys() - self._first.keys()),
            "duplicated": self.duplicated,
            "wrong": sum(1 for window, total in self._first.items() if window in truth and truth[window] != total),
            "foreign": self.foreign + len(self._first.keys() - truth.keys()),
        }
        return Verdict(differences, "windows")


def _read_metric(metric: Any) -> tuple[Window, int, int]:
    """To the cent: sums of binary floats that differ by less are not held against anyone.

    Raises:
        ValueError: its end or its average does not follow from the rest.
    """
    window = (metric["product_id"], round(metric["window_start"]))
    count, cents = metric["order_count"], round(metric["total_revenue"] * 100)
    if round(metric["window_end"]) != window[1] + WINDOW_S:
        raise ValueError("not a minute")
    if count < 1 or abs(metric["avg_order_value"] * 100 - cents / count) > _ROUNDED_CENTS:
        raise ValueError("not the average")
    return window, count, cents


@dataclass(frozen=True)
class Verdict:
    """How many ``of`` what differ, by how; exact when none do."""

    differences: dict[str, int]
    of: str

    @property
    def exact(self) -> bool:
        return not any(self.differences.values())

    def __str__(self) -> str:
        if self.exact:
            return "exact"
        return ", ".join(f"{number:,} {self.of} {how}" for how, number in self.differences.items() if number)


def joined(verdicts: list[Verdict]) -> str:
    """Several runs' verdicts in one phrase."""
    if all(verdict.exact for verdict in verdicts):
        return "exact"
    counts = Counter(str(verdict) for verdict in verdicts if not verdict.exact)
    return "; ".join(
        phrase if len(verdicts) == 1 else f"{phrase} ({number} of {len(verdicts)} runs)"
        for phrase, number in counts.items()
    )
