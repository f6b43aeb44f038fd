"""The page, the table and the JSON have the same figures, to the cent, and show external input as text."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cli.app import run
from daily_report.formats import as_csv, as_json
from daily_report.page import as_html, bars_of
from daily_report.plot import axis_top
from daily_report.reconciliation import Reconciliation, Total, reconcile
from daily_report.report import Report
from daily_report.span import Span, parse_span
from daily_report.wording import summary_lines
from libs.events.product_metrics import MetricRow

DAY = parse_span("2026-11-27")
HOSTILE = '<script>alert("1")</script>&amp;'
LARGE_CENTS = 2**53 + 1  # not representable as a double


def rows(span: Span) -> list[MetricRow]:
    start = span.from_s
    return [
        MetricRow(start, start + 60, HOSTILE, 1, LARGE_CENTS, LARGE_CENTS),
        MetricRow(start, start + 60, "prod-1", 2, 1050, 525),
        MetricRow(span.to_s - 60, span.to_s, "prod-1", 1, 1, 1),
    ]


def report(span: Span = DAY, *, differs: bool = False) -> Report:
    all_rows = rows(span)
    found = {"topic": all_rows, "file": all_rows, "database": all_rows[1:] if differs else all_rows}
    late = {"prod-2": Total(2, 300)}
    return Report(span, reconcile(found), {"malformed": 3, HOSTILE: 1}, late, (f"A note on {HOSTILE}.",))


class Page(HTMLParser):
    """The page's tags, its texts, and the URLs that it references."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts = [""]
        self.fetched: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in ("src", "href", "action", "srcset")]
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


@pytest.mark.parametrize("differs", [False, True])
def test_the_page_is_a_single_file_and_escapes_its_content(*, differs: bool) -> None:
    text = as_html(report(differs=differs))
    page = Page(text)
    assert "script" not in page.tags
    assert HOSTILE in page.texts
    assert f"A note on {HOSTILE}." in page.texts
    assert not page.fetched
    assert not re.search(r"url\(|@import", text)
    assert page.tags.count("rect") == 24
    assert "$90,071,992,547,409.93" in page.texts
    assert any(cell.startswith("NOT reconciled") for cell in page.texts) is differs


class RowsReadSeldom(list[MetricRow]):
    """May be iterated over three times at most."""

    reads = 0

    def __iter__(self) -> Iterator[MetricRow]:
        self.reads += 1
        assert self.reads <= 3, "the rows are read for each product"
        return super().__iter__()


@pytest.mark.parametrize("render", [as_json, as_csv, as_html, summary_lines])
def test_the_effort_for_many_products_is_not_quadratic(render: Callable[[Report], object]) -> None:
    start, products = DAY.from_s, [f"prod-{number}" for number in range(10_000)]
    sums = dict.fromkeys(products, Total(1, 1))
    all_rows = RowsReadSeldom(MetricRow(start, start + 60, product, 1, 1, 1) for product in products)
    assert render(Report(DAY, Reconciliation({"topic": sums, "file": sums}, all_rows, (), 0), {}, {}))
    assert all_rows.reads


def test_bars_are_hours_of_a_day_and_minutes_of_an_hour() -> None:
    bars = bars_of(report())
    assert [bar.label for bar in bars] == [f"{hour:02d}:00" for hour in range(24)]
    assert bars[0] == ("00:00", 3, LARGE_CENTS + 1050)
    assert bars[-1] == ("23:00", 1, 1)
    minutes = bars_of(report(parse_span("2026-11-27T14")))
    assert [bar.label for bar in minutes] == [f"14:{minute:02d}" for minute in range(60)]
    assert minutes[59] == ("14:59", 1, 1)


@pytest.mark.parametrize("cents", [0, 1, 199, 200, 201, 99_999, 100_001, LARGE_CENTS])
def test_the_axis_ends_at_or_above_the_highest_bar(cents: int) -> None:
    assert max(cents, 1) <= axis_top(cents) <= max(5 * cents, 200)


def test_csv_is_exact() -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(report(differs=True)))))
    assert [line["product_id"] for line in lines] == [HOSTILE, "prod-1", "prod-2", ""]
    hostile, first, second, total = lines
    assert hostile["total_revenue"] == "90071992547409.93"
    assert (hostile["topic_revenue"], hostile["database_revenue"]) == ("90071992547409.93", "0.00")
    assert (first["order_count"], first["total_revenue"], first["avg_order_value"]) == ("3", "10.51", "3.50")
    assert (second["order_count"], second["late_order_count"], second["late_revenue"]) == ("0", "2", "3.00")
    assert Decimal(total["total_revenue"]) == sum(Decimal(line["total_revenue"]) for line in lines[:-1])


def test_csv_has_any_product_id_in_one_cell() -> None:
    product = 'a\r"b",\n'
    row = MetricRow(DAY.from_s, DAY.from_s + 60, product, 1, 100, 100)
    text = as_csv(Report(DAY, reconcile({"topic": [row]}), {}, {}))
    (line, _) = csv.DictReader(io.StringIO(text, newline=""))
    assert (line["product_id"], line["total_revenue"]) == (product, "1.00")


def test_json_has_whole_cents_and_string_keys() -> None:
    found = as_json(report(differs=True))
    assert json.loads(json.dumps(found)) == found, "nothing is lost on the way"
    assert found["products"][HOSTILE]["revenue_cents"] == LARGE_CENTS
    assert found["dead_letters"] == {"malformed": 3, HOSTILE: 1}
    assert (found["reconciled"], found["difference_count"]) == (False, 1)
    assert found["differences"][0]["found"]["database"] == []


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["tomorrow"], "'tomorrow' is neither a day", 2),
        (["1969-12-31"], "from 1970 on", 2),  # the broker knows no timestamps before
        (["--outputs=tape"], "'tape': file, database, or both", 2),
        (["2999-01-01"], "2999-01-01 is not over", 1),
        (["2026-11-27", "--bootstrap=127.0.0.1:1"], "no broker at 127.0.0.1:1", 1),
    ],
)
def test_a_failing_report_has_a_clear_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str, exit_code: int
) -> None:
    assert run(["report", f"--folder={tmp_path}", *arguments]) == exit_code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
