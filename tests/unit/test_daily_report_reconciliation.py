"""A difference of any kind between topic, file and database is found, and reported with product, window and values."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from daily_report.reconciliation import Reconciliation, Total, reconcile
from daily_report.report import Report
from daily_report.span import parse_span, yesterday
from daily_report.wording import difference_lines, retention_notes, verdict
from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow

DAY = parse_span("2026-11-27")
Rows = list[MetricRow]


def metric(minute: int, product: str, orders: int, cents: int) -> MetricRow:
    start = DAY.from_s + 60 * minute
    return MetricRow(start, start + 60, product, orders, cents, mean_cents(cents, orders))


RANDOM = random.Random(7)
METRICS = [metric(minute, product, 3, RANDOM.randrange(1, 10**6)) for minute in range(50) for product in ("a", "b")]
PLANTED = 31  # a metric in the middle
SAME = METRICS[PLANTED]


def report(reconciliation: Reconciliation) -> Report:
    return Report(DAY, reconciliation, {}, {})


def copies() -> dict[str, Rows]:
    return {source: RANDOM.sample(METRICS, len(METRICS)) for source in ("topic", "file", "database")}


def test_the_same_metrics_in_any_order_are_reconciled() -> None:
    found = reconcile(copies())
    assert report(found).is_reconciled
    assert list(found.rows) == sorted(METRICS)
    expected = {p: Total(150, sum(each.revenue_cents for each in METRICS if each.product_id == p)) for p in ("a", "b")}
    assert found.totals == {"topic": expected, "file": expected, "database": expected}
    assert "the same 100 metrics" in verdict(report(found))


def without_one(rows: Rows) -> None:
    rows.remove(SAME)


def duplicated(rows: Rows) -> None:
    rows.append(SAME)


def one_cent_more(rows: Rows) -> None:
    rows[rows.index(SAME)] = SAME._replace(revenue_cents=SAME.revenue_cents + 1)


def other_average(rows: Rows) -> None:
    rows[rows.index(SAME)] = SAME._replace(average_cents=SAME.average_cents + 1)


def one_order_more(rows: Rows) -> None:
    rows[rows.index(SAME)] = SAME._replace(order_count=SAME.order_count + 1)


@pytest.mark.parametrize("source", ["topic", "file", "database"])
@pytest.mark.parametrize("plant", [without_one, duplicated, one_cent_more, other_average, one_order_more])
def test_each_difference_is_found_in_each_source(source: str, plant: Callable[[Rows], None]) -> None:
    sources = copies()
    plant(sources[source])
    found = reconcile(sources)
    (difference,) = found.differences
    assert (difference.product_id, difference.window_start) == (SAME.product_id, SAME.window_start)
    assert list(difference.found[source]) == [
        each
        for each in sources[source]
        if each.window_start == SAME.window_start and each.product_id == SAME.product_id
    ]
    assert not report(found).is_reconciled
    assert found.verified == len(METRICS) - 1
    (line,) = difference_lines(report(found))
    assert line.startswith("b, window from 2026-11-27T00:15:00Z: topic: ")
    assert [part in line for part in ("topic: ", "file: ", "database: ")] == [True] * 3


def test_the_metrics_of_each_source_are_listed() -> None:
    lines = list(
        difference_lines(
            report(
                reconcile({"topic": [metric(0, "a", 2, 1050)], "file": [], "database": [metric(0, "a", 2, 1049)] * 2})
            )
        )
    )
    expected = (
        "a, window from 2026-11-27T00:00:00Z: topic: 2 orders, $10.50, average $5.25; file: no metric;"
        " database: 2 orders, $10.49, average $5.24 and 2 orders, $10.49, average $5.24"
    )
    assert lines == [expected]


def test_many_differences_are_counted_and_some_are_listed() -> None:
    lines = list(difference_lines(report(reconcile({"topic": METRICS, "file": []}))))
    assert len(lines) == 21
    assert lines[-1] == "... and 80 more"


def test_windows_of_two_lengths_with_the_same_start_are_distinct() -> None:
    rows = [metric(0, "a", 2, 10), metric(0, "a", 2, 10)._replace(window_end=DAY.from_s + 120)]
    assert report(reconcile({"topic": rows, "file": rows})).is_reconciled


def lost_until(end_s: float, **products: float) -> Callable[[str, MetricRow], bool]:
    """The topic may lack metrics of windows that end then; ``products`` have other times."""
    return lambda source, row: source == "topic" and row.window_end <= products.get(row.product_id, end_s)


def test_metrics_deleted_from_the_topic_by_retention_are_not_a_difference() -> None:
    kept = [each for each in METRICS if each.window_start >= DAY.from_s + 600]
    found = reconcile({"topic": kept, "file": METRICS, "database": METRICS}, lost_until(DAY.from_s + 600))
    assert report(found).is_reconciled
    assert (found.verified, found.unverified) == (100, 0), "file and database confirm each other"
    alone = reconcile({"topic": kept, "file": METRICS}, lost_until(DAY.from_s + 600))
    assert report(alone).is_reconciled
    assert (alone.verified, alone.unverified) == (80, 20)
    later = reconcile({"topic": kept[1:], "file": METRICS}, lost_until(DAY.from_s + 600))
    assert len(later.differences) == 1, "a metric that retention cannot have deleted is missing"
    all_but_one = {"topic": kept, "file": METRICS, "database": METRICS[1:]}
    assert len(reconcile(all_but_one, lost_until(DAY.from_s + 600)).differences) == 1
    idle = reconcile({"topic": METRICS[1:], "file": METRICS}, lost_until(DAY.from_s, b=float("inf")))
    assert len(idle.differences) == 1, "only metrics of the other product may have been deleted"


def test_possible_losses_by_retention_are_reported() -> None:
    """Metrics that a rewritten file or database lacks as well are missing from the totals, but are no difference."""
    assert retention_notes(DAY, float("-inf")) == retention_notes(DAY, DAY.from_s) == []
    [of_some] = retention_notes(DAY, DAY.from_s + 7200)
    assert "windows that end by 2026-11-27T02:00:00Z" in of_some
    assert "any metric" in retention_notes(DAY, DAY.to_s)[0]
    assert "any metric" in retention_notes(DAY, float("inf"))[0]


def test_nothing_to_compare_is_not_reconciled() -> None:
    nothing = report(reconcile({"topic": [], "file": METRICS}, lost_until(float("inf"))))
    assert (nothing.is_reconciled, nothing.is_faulty) == (False, True)
    assert "no longer has any" in verdict(nothing)
    assert report(reconcile({"topic": [], "file": []})).is_reconciled, "a day without orders"


@pytest.mark.parametrize("found", [{"topic": METRICS}, {"topic": []}, {"topic": METRICS, "file": []}])
def test_a_topic_without_another_source_is_not_compared(found: dict[str, Rows]) -> None:
    """No output is named, or its finished files were moved away."""
    alone = report(reconcile(found, lambda source, _: source == "file"))
    assert (alone.is_reconciled, alone.is_faulty, alone.reconciliation.verified) == (False, False, 0)
    assert verdict(alone).startswith("Not compared")
    assert alone.totals.keys() == {each.product_id for each in found["topic"]}


def test_a_metric_that_is_twice_in_a_topic_without_another_source_is_a_difference() -> None:
    alone = report(reconcile({"topic": [*METRICS, METRICS[0]]}))
    assert alone.is_faulty
    assert verdict(alone) == "NOT reconciled: the topic has 1 of 100 metrics more than once."


def test_metrics_that_were_in_files_that_were_moved_away_are_compared_with_the_others() -> None:
    moved = METRICS[:20]
    found = reconcile(
        {"topic": METRICS, "file": METRICS[20:], "database": METRICS},
        lambda source, row: source == "file" and row in moved,
    )
    assert (report(found).is_reconciled, found.verified, found.only_in_topic) == (True, 100, 0)
    alone = reconcile({"topic": METRICS, "file": METRICS[20:]}, lambda source, row: source == "file" and row in moved)
    assert (report(alone).is_reconciled, alone.verified, alone.only_in_topic) == (True, 80, 20)


@pytest.mark.parametrize("text", ["2026-11-27T14", "2026-11-27T14:00", "2026-11-27T14:00:00", "2026-11-27T14:00:00Z"])
def test_parsing_an_hour(text: str) -> None:
    span = parse_span(text)
    start = int(datetime(2026, 11, 27, 14, tzinfo=UTC).timestamp())
    assert span == ("2026-11-27T14", start, start + 3600)
    assert not span.is_day


def test_parsing_a_day() -> None:
    start = int(datetime(2026, 11, 27, tzinfo=UTC).timestamp())
    assert parse_span("2026-11-27") == ("2026-11-27", start, start + 86_400)
    assert DAY.is_day
    assert yesterday(datetime(2026, 11, 28, 0, 0, 1, tzinfo=UTC)) == DAY
    assert DAY.last_window_end_s(60) == DAY.to_s
    assert (DAY.last_window_end_s(7) - 7) in range(DAY.to_s - 7, DAY.to_s)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-11-27T24", "2026-11-27T14:30", "9999-12-31", "../../x"]
)
def test_invalid_periods_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="neither a day as in 2026-11-27 nor an hour"):
        parse_span(text)
