"""Checks that topic, file and database have the same metrics: each once, equal to the cent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from libs.events.product_metrics import MetricRow

TOPIC = "topic"


class Total(NamedTuple):
    """Orders and cents."""

    orders: int = 0
    cents: int = 0


class Difference(NamedTuple):
    """A window of a product for which the sources differ: each source's metrics, none or several."""

    product_id: str
    window_start: int
    found: Mapping[str, Sequence[MetricRow]]


@dataclass(frozen=True)
class Reconciliation:
    """The result of comparing the sources.

    Attributes:
        totals: by source and product.
        rows: a metric for each product and window, oldest first; if sources differ, that of the first one that has it.
        differences: oldest first.
        unverified: the number of windows of a product that only one output has, because retention may have deleted them in the
            topic.
        only_in_topic: the number of those with which no output was compared.
    """

    totals: Mapping[str, Mapping[str, Total]]
    rows: Sequence[MetricRow]
    differences: Sequence[Difference]
    unverified: int
    only_in_topic: int = 0

    @property
    def verified(self) -> int:
        """The number of windows of a product for which the sources agree."""
        return len(self.rows) - len(self.differences) - self.unverified - self.only_in_topic

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.totals)


def reconcile(
    found: Mapping[str, Iterable[MetricRow]], may_lack: Callable[[str, MetricRow], bool] = lambda _, __: False
) -> Reconciliation:
    """Compare the metrics of a span.

    Args:
        found: each source's metrics, the most trusted source first.
        may_lack: whether a source may lack a metric, for example because of retention. Then the others are compared with one another.
    """
    windows: dict[tuple[int, int, str], dict[str, list[MetricRow]]] = {}
    for source, metrics in found.items():
        for metric in metrics:
            key = (metric.window_start, metric.window_end, metric.product_id)
            windows.setdefault(key, {}).setdefault(source, []).append(metric)
    rows, differences, unverified, only_in_topic = [], [], 0, 0
    for (start, _, product_id), of_window in sorted(windows.items()):
        metric = next(of_window[source] for source in found if source in of_window)[0]
        rows.append(metric)
        asked = [each for each in found if each in of_window or not may_lack(each, metric)]
        if any(of_window.get(source) != [metric] for source in asked):
            differences.append(Difference(product_id, start, {source: of_window.get(source, []) for source in asked}))
        elif asked == [TOPIC]:
            only_in_topic += 1
        elif len(asked) < 2:
            unverified += 1
    totals = {
        source: totals_of(row for of_window in windows.values() for row in of_window.get(source, ()))
        for source in found
    }
    return Reconciliation(totals, rows, differences, unverified, only_in_topic)


def totals_of(rows: Iterable[MetricRow]) -> dict[str, Total]:
    """By product, in the products' order."""
    sums: dict[str, Total] = {}
    for row in rows:
        before = sums.get(row.product_id, Total())
        sums[row.product_id] = Total(before.orders + row.order_count, before.cents + row.revenue_cents)
    return dict(sorted(sums.items()))
