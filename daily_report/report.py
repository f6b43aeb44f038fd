"""What a report says, whatever it is written as."""

from collections.abc import Mapping
from dataclasses import dataclass

from daily_report.reconciliation import Reconciliation, Total, totals_of
from daily_report.span import Span


@dataclass(frozen=True)
class Report:
    """A span's totals, and what did not become one of them.

    Attributes:
        span: the day or hour.
        reconciliation: the metrics of the windows that begin in it.
        dead_letters: how many of the orders that came in during the span were rejected, by reason.
        late_orders: by product, the orders whose windows begin in the span and were closed before they came.
        notes: what the reader has to know, a sentence each: what retention has deleted, for example.
    """

    span: Span
    reconciliation: Reconciliation
    dead_letters: Mapping[str, int]
    late_orders: Mapping[str, Total]
    notes: tuple[str, ...] = ()

    @property
    def is_reconciled(self) -> bool:
        """Whether no window differs, and there is one that could differ, or none at all."""
        reconciliation = self.reconciliation
        return not reconciliation.differences and (not reconciliation.rows or reconciliation.verified > 0)

    @property
    def totals(self) -> dict[str, Total]:
        """By product; where sources differ, of the first one that has the window."""
        return totals_of(self.reconciliation.rows)

    @property
    def products(self) -> list[str]:
        """Those with an order in a window or a late one."""
        return sorted({*self.totals, *self.late_orders})


def summed(totals: Mapping[str, Total]) -> Total:
    """All products together."""
    return Total(sum(each.orders for each in totals.values()), sum(each.cents for each in totals.values()))
