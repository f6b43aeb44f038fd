"""A report in words: its sums, and what differs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from daily_report.reconciliation import Difference
from daily_report.report import Report, summed
from daily_report.span import Span
from libs.events.product_metrics import MetricRow
from libs.printable import printable

_MOST_LINES = 20


def money(cents: int) -> str:
    """Cents as text: $1,234.50."""
    return f"${cents // 100:,}.{cents % 100:02d}"


def verdict(report: Report) -> str:
    """The result of the reconciliation in one sentence."""
    reconciliation = report.reconciliation
    if not report.is_reconciled and not report.is_faulty:
        return "Not compared: there is no output with these metrics."
    *others, last = reconciliation.sources
    if not others and reconciliation.differences:
        return f"NOT reconciled: the topic has {len(reconciliation.differences):,} of {len(reconciliation.rows):,} metrics more than once."
    sources = f"{', '.join(others)} and {last}"
    if report.is_reconciled:
        return f"Reconciled: {sources} hold the same {reconciliation.verified:,} metrics, to the cent."
    if not reconciliation.differences:
        return "NOT reconciled: the topic no longer has any of the metrics, and no other source was there to compare."
    return (
        f"NOT reconciled: {sources} differ in {len(reconciliation.differences):,}"
        f" of {len(reconciliation.rows):,} metrics."
    )


def retention_notes(span: Span, topic_missing_until_s: float) -> list[str]:
    """A note if the topic may have lost metrics of ``span``: those of windows that end at ``topic_missing_until_s`` or before."""
    if topic_missing_until_s <= span.from_s:
        return []
    which = "any metric of this time"
    if topic_missing_until_s < span.to_s:
        which = (
            f"metrics of windows that end by {datetime.fromtimestamp(topic_missing_until_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        )
    return [f"Retention may have deleted {which} from the topic; those that no other source has are missing here."]


def summary_lines(report: Report) -> list[str]:
    """The summary of a report for a terminal."""
    total, late = summed(report.totals), summed(report.late_orders)
    rejected = ", ".join(f"{printable(reason, 40)} {count:,}" for reason, count in sorted(report.dead_letters.items()))
    return [
        f"{report.span.title}: {total.orders:,} orders, {money(total.cents)}",
        verdict(report),
        f"dead letters: {rejected or 'none'}; late orders: {late.orders:,}, {money(late.cents)}",
        *report.notes,
    ]


def difference_lines(report: Report) -> Iterator[str]:
    """A line for each difference: product, window and each source's value; at most a screen of them."""
    found = report.reconciliation.differences
    for each in found[:_MOST_LINES]:
        said = "; ".join(f"{source}: {found_text(metrics)}" for source, metrics in each.found.items())
        yield f"{differs_text(each)}: {said}"
    if len(found) > _MOST_LINES:
        yield f"... and {len(found) - _MOST_LINES:,} more"


def differs_text(difference: Difference) -> str:
    """Product and window."""
    start = datetime.fromtimestamp(difference.window_start, UTC)
    return f"{printable(difference.product_id)}, window from {start:%Y-%m-%dT%H:%M:%SZ}"


def found_text(metrics: Sequence[MetricRow] | None) -> str:
    """A source's metrics for a window; None if the source was not read."""
    if metrics is None:
        return "not asked"
    if not metrics:
        return "no metric"
    return " and ".join(
        f"{each.order_count:,} orders, {money(each.revenue_cents)}, average {money(each.average_cents)}"
        for each in metrics
    )
