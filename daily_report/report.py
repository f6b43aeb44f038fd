"""The data of a report, independent of its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from daily_report.reconciliation import Reconciliation, Total, totals_of
from daily_report.span import Span


@dataclass(frozen=True)
class Report:
    """A span's totals, and the orders that are not in them.

    Attributes:
        span: the day or hour.
        reconciliation: the metrics of the windows that begin in it.
        dead_letters: the number of rejected orders that arrived during the span, by reason.
        late_orders: by product, the late orders of windows that begin in the span.
        notes: remarks for the reader, a sentence each, for example about records that retention has deleted.
    """

    span: Span
    reconciliation: Reconciliation
    dead_letters: Mapping[str, int]
    late_orders: Mapping[str, Total]
    notes: tuple[str, ...] = ()

    @property
    def is_reconciled(self) -> bool:
        """Whether no window differs, and at least one was compared, unless no source has any."""
        found = self.reconciliation
        return not found.differences and (found.verified > 0 or (not found.rows and len(found.sources) > 1))

    @property
    def is_faulty(self) -> bool:
        """Whether sources differ, or the topic has lost all metrics and no two outputs have them.

        It is not if there was nothing to compare the topic with.
        """
        return not self.is_reconciled and bool(self.reconciliation.differences or self.reconciliation.unverified)

    @cached_property
    def totals(self) -> dict[str, Total]:
        """The totals by product; if sources differ, of the first one that has the window."""
        return totals_of(self.reconciliation.rows)

    @property
    def products(self) -> list[str]:
        """The products with an order in a window or a late one."""
        return sorted({*self.totals, *self.late_orders})


def summed(totals: Mapping[str, Total]) -> Total:
    """The sum of all products."""
    return Total(sum(each.orders for each in totals.values()), sum(each.cents for each in totals.values()))
