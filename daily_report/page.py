"""The report as one HTML file without outside assets."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from daily_report.elements import as_document, element
from daily_report.plot import Bar, plot
from daily_report.reconciliation import Total
from daily_report.report import Report, summed
from daily_report.wording import differs_text, found_text, money, verdict
from libs.events.money import mean_cents
from libs.printable import printable
from metrics_report.summary import Selection, summarize

_STYLE = (Path(__file__).parent / "page.css").read_text("utf-8")
_MOST_DIFFERENCES = 200


def as_html(report: Report) -> str:
    """The whole page."""
    title = f"Orders of {report.span.title}"
    bars = bars_of(report)
    slot = "hour" if report.span.is_day else "minute"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _STYLE),
    )
    body = element(
        "body",
        element("h1", title),
        element("p", verdict(report), class_="verdict differs" if report.is_faulty else "verdict"),
        *[element("p", note, class_="quiet") for note in report.notes],
        *_differences(report),
        element("h2", "Totals per product"),
        _totals(report),
        element("h2", f"Revenue by {slot} (UTC)"),
        plot(bars, f"Bars of revenue by {slot}; the same figures stand in the table below"),
        element("h2", "Dead letters"),
        *_dead_letters(report),
        element("h2", f"All products by {slot} (UTC)"),
        _table((slot, "orders", "revenue"), [(bar.label, f"{bar.orders:,}", money(bar.cents)) for bar in bars]),
    )
    return as_document(element("html", head, body, lang="en"))


def bars_of(report: Report) -> list[Bar]:
    """A bar for each hour of a day, or minute of an hour, including those without orders."""
    span, slot_s = report.span, 3600 if report.span.is_day else 60
    sums = {start: Total() for start in range(span.from_s, span.to_s, slot_s)}
    for line in summarize(report.reconciliation.rows, Selection(), "hour" if span.is_day else "minute"):
        assert line.period_start is not None  # only a total has none
        before = sums[line.period_start]
        sums[line.period_start] = Total(before.orders + line.order_count, before.cents + line.revenue_cents)
    return [Bar(f"{datetime.fromtimestamp(start, UTC):%H:%M}", *total) for start, total in sums.items()]


def _totals(report: Report) -> Element:
    sources = report.reconciliation.sources
    headings = ("product", "orders", "revenue", "average", *(f"in the {each}" for each in sources), "late orders")

    def row(name: str, total: Total, in_sources: Iterable[Total], late: Total) -> list[str]:
        average = money(mean_cents(total.cents, total.orders)) if total.orders else ""
        said = [money(each.cents) for each in in_sources]
        return [name, f"{total.orders:,}", money(total.cents), average, *said, f"{late.orders:,}"]

    totals, by_source, late = report.totals, report.reconciliation.totals, report.late_orders
    rows = [
        row(
            printable(product),
            totals.get(product, Total()),
            [by_source[source].get(product, Total()) for source in sources],
            late.get(product, Total()),
        )
        for product in report.products
    ]
    last = row("total", summed(totals), [summed(by_source[source]) for source in sources], summed(late))
    return _table(headings, rows, last)


def _differences(report: Report) -> list[Element]:
    found = report.reconciliation.differences
    if not found:
        return []
    sources = report.reconciliation.sources
    shown = found[:_MOST_DIFFERENCES]
    rows = [(differs_text(each), *[found_text(each.found.get(source)) for source in sources]) for each in shown]
    parts = [element("h2", "Differences"), _table(("product and window", *sources), rows)]
    if len(found) > len(shown):
        parts.append(element("p", f"The first {len(shown)} of {len(found):,}.", class_="quiet"))
    return parts


def _dead_letters(report: Report) -> list[Element]:
    if not report.dead_letters:
        return [element("p", "None of the orders that came in was rejected.", class_="quiet")]
    by_count = sorted(report.dead_letters.items(), key=lambda item: (-item[1], item[0]))
    rows = [(printable(reason, 80), f"{count:,}") for reason, count in by_count]
    return [_table(("reason", "orders rejected"), rows, ("total", f"{sum(report.dead_letters.values()):,}"))]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], last: Sequence[str] = ()) -> Element:
    body = element("tbody", *[element("tr", *[element("td", cell) for cell in row]) for row in rows])
    foot = [element("tfoot", element("tr", *[element("td", cell) for cell in last]))] if last else []
    head = element("thead", element("tr", *[element("th", name, scope="col") for name in headings]))
    return element("div", element("table", head, body, *foot), class_="scroll")
