"""Sums the orders of each product and window."""

from typing import NamedTuple

from verification.reference_processor import Order

Window = tuple[str, int]
"""(product, start in epoch seconds)"""


class Total(NamedTuple):
    """Orders and cents."""

    orders: int = 0
    cents: int = 0

    def minus(self, other: "Total") -> "Total":
        return Total(self.orders - other.orders, self.cents - other.cents)


class WindowSums:
    """The sums of the orders of each product and window, in whole cents, and of the late ones among them."""

    def __init__(self, window_seconds: int) -> None:
        self.window_seconds = window_seconds
        self._accepted: dict[Window, list[int]] = {}
        self._late: dict[Window, list[int]] = {}

    def window_of(self, order: Order) -> Window:
        return order.product_id, int(order.timestamp_s) // self.window_seconds * self.window_seconds

    def end_of(self, order: Order) -> int:
        return self.window_of(order)[1] + self.window_seconds

    def accept(self, order: Order) -> None:
        _add(self._accepted, self.window_of(order), order.cents)

    def take_back(self, order: Order) -> None:
        _add(self._accepted, self.window_of(order), -order.cents, orders=-1)

    def late(self, order: Order) -> None:
        _add(self._late, self.window_of(order), order.cents)

    def expected(self) -> dict[Window, Total]:
        """The expected metric of each window once it is closed; a window with only late orders has none."""
        totals = {window: self.accepted_in(window).minus(self.late_in(window)) for window in self._accepted}
        return {window: total for window, total in totals.items() if total.orders}

    def accepted_in(self, window: Window) -> Total:
        return Total(*self._accepted.get(window, ()))

    def late_in(self, window: Window) -> Total:
        return Total(*self._late.get(window, ()))

    def accepted_count(self) -> int:
        return sum(count for count, _ in self._accepted.values())

    def late_count(self) -> int:
        return sum(count for count, _ in self._late.values())

    def windows(self) -> set[Window]:
        return set(self._accepted)

    def forget(self, window: Window) -> None:
        """Expect nothing of this window any more."""
        self._accepted.pop(window, None)
        self._late.pop(window, None)


def mean_cents(total: Total) -> int:
    """The average in cents, rounded half to even."""
    below, remainder = divmod(total.cents, total.orders)
    doubled = 2 * remainder
    return below + (doubled > total.orders or (doubled == total.orders and below % 2 == 1))


def describe_window(window: Window) -> str:
    """The window as reports name it."""
    product, start = window
    return f"{product} from {start}"


def _add(totals: dict[Window, list[int]], window: Window, cents: int, orders: int = 1) -> None:
    total = totals.setdefault(window, [0, 0])
    total[0] += orders
    total[1] += cents
