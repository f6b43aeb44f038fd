"""Computes the expected content of the page from the orders that a test has sent."""

import time
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from tests.integration.pipeline import WINDOW_S, OrderFields

Row = tuple[str, str, str, str]
"""Product, orders, revenue and average, as displayed."""


class ExpectedPage(NamedTuple):
    """The expected rows of each window, by its start and end, oldest first; the last row is the total."""

    windows: dict[tuple[str, str], list[Row]]
    revenue: list[Decimal]
    """The total of all products, by window."""


def expected_sales(orders: list[OrderFields]) -> ExpectedPage:
    sold: dict[int, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(list))
    for order in orders:
        start_s = int(Decimal(str(order["timestamp"])) // WINDOW_S) * WINDOW_S
        sold[start_s][str(order["product_id"])].append(Decimal(str(order["amount"])))
    windows = {}
    revenue = []
    for start_s, products in sorted(sold.items()):
        rows = [_row(name, amounts) for name, amounts in sorted(products.items())]
        everything = [amount for amounts in products.values() for amount in amounts]
        revenue.append(sum(everything, Decimal(0)))
        windows[clock(start_s), clock(start_s + WINDOW_S)] = [*rows, _row("all products", everything)]
    return ExpectedPage(windows, revenue)


def clock(epoch_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(epoch_s))


def _row(name: str, amounts: list[Decimal]) -> Row:
    total = sum(amounts, Decimal(0))
    average = (total / len(amounts)).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    return name, f"{len(amounts):,}", f"${total:,.2f}", f"${average:,.2f}"
