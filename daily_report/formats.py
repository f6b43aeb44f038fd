"""The report as CSV and as JSON."""

from typing import Any

from daily_report.reconciliation import Difference, Total
from daily_report.report import Report, summed
from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow
from metrics_report.formats import csv_text, dollars


def as_csv(report: Report) -> str:
    """CSV with a header, a line for each product, and the total last; amounts are dollars, exact to the cent."""
    sources, totals, late = report.reconciliation.sources, report.totals, report.late_orders
    columns = ["span", "product_id", "order_count", "total_revenue", "avg_order_value"]
    for source in sources:
        columns += [f"{source}_order_count", f"{source}_revenue"]

    def row(product_id: str, total: Total, in_sources: list[Total], late: Total) -> list[object]:
        average = dollars(mean_cents(total.cents, total.orders)) if total.orders else ""
        cells = [cell for each in (*in_sources, late) for cell in (each.orders, dollars(each.cents))]
        return [report.span.name, product_id, total.orders, dollars(total.cents), average, *cells]

    by_source = report.reconciliation.totals
    rows = [
        row(
            product,
            totals.get(product, Total()),
            [by_source[source].get(product, Total()) for source in sources],
            late.get(product, Total()),
        )
        for product in report.products
    ]
    total = row("", summed(totals), [summed(by_source[source]) for source in sources], summed(late))
    return csv_text([[*columns, "late_order_count", "late_revenue"], *rows, total])


def as_json(report: Report, most_differences: int = 100) -> dict[str, Any]:
    """Plain JSON values: amounts in whole cents, times in epoch seconds; all differences are counted, the first are listed."""
    reconciliation = report.reconciliation
    late = report.late_orders
    return {
        "span": report.span.name,
        "from": report.span.from_s,
        "to": report.span.to_s,
        "reconciled": report.is_reconciled,
        "sources": list(reconciliation.sources),
        "products": {
            product: _total(report.totals.get(product, Total()), late.get(product, Total()))
            for product in report.products
        },
        "total": _total(summed(report.totals), summed(late)),
        "dead_letters": dict(sorted(report.dead_letters.items())),
        "notes": list(report.notes),
        "difference_count": len(reconciliation.differences),
        "differences": [_difference(each) for each in reconciliation.differences[:most_differences]],
    }


def _total(total: Total, late: Total) -> dict[str, int]:
    return {
        "order_count": total.orders,
        "revenue_cents": total.cents,
        "late_order_count": late.orders,
        "late_revenue_cents": late.cents,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "product_id": difference.product_id,
        "window_start": difference.window_start,
        "found": {source: [_metric(each) for each in metrics] for source, metrics in difference.found.items()},
    }


def _metric(metric: MetricRow) -> dict[str, int]:
    return {
        "window_end": metric.window_end,
        "order_count": metric.order_count,
        "revenue_cents": metric.revenue_cents,
        "average_cents": metric.average_cents,
    }
