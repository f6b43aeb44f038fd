"""Metrics added up by product and period, in whole cents."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow

Period = Literal["minute", "hour", "day"]
SECONDS: dict[Period, int] = {"minute": 60, "hour": 3600, "day": 86_400}


class Selection(NamedTuple):
    """Selects metrics: windows that begin in ``[from_s, to_s)``, epoch seconds; no products means all."""

    products: frozenset[str] = frozenset()
    from_s: int = 0
    to_s: int = 2**63 - 1

    def has(self, row: MetricRow) -> bool:
        return self.from_s <= row.window_start < self.to_s and (not self.products or row.product_id in self.products)


class Line(NamedTuple):
    """The sums of one product in one period; the total has neither."""

    period_start: int | None
    product_id: str | None
    order_count: int
    revenue_cents: int

    @property
    def average_cents(self) -> int:
        return mean_cents(self.revenue_cents, self.order_count) if self.order_count else 0

    @property
    def period(self) -> str:
        """The period's beginning in UTC, or the label of the total."""
        if self.period_start is None:
            return "total"
        return datetime.fromtimestamp(self.period_start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Sums:
    """Adds up the selected metrics by period and product."""

    def __init__(self, selection: Selection, period: Period) -> None:
        self._selection = selection
        self._length_s = SECONDS[period]
        self._sums: dict[tuple[int, str], list[int]] = {}

    def add(self, row: MetricRow) -> None:
        if self._selection.has(row):
            period_start = row.window_start // self._length_s * self._length_s
            total = self._sums.setdefault((period_start, row.product_id), [0, 0])
            total[0] += row.order_count
            total[1] += row.revenue_cents

    def lines(self) -> list[Line]:
        """A line for each period and product, oldest first."""
        return [Line(*key, *total) for key, total in sorted(self._sums.items())]


def summarize(rows: Iterable[MetricRow], selection: Selection, period: Period) -> list[Line]:
    """A line for each period and product, oldest first."""
    sums = Sums(selection, period)
    for row in rows:
        sums.add(row)
    return sums.lines()


def total_of(lines: Sequence[Line]) -> Line:
    """The sum of the lines."""
    return Line(None, None, sum(line.order_count for line in lines), sum(line.revenue_cents for line in lines))
