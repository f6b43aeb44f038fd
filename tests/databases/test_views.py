"""The views' results equal sums computed independently, in both databases."""

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from libs.events.product_metrics import MetricRow
from services.sink.database.session import Move
from services.sink.record_batcher import Position
from tests.databases.probes import Probe

HOUR, DAY = 3600, 86_400
START = 1_795_305_540  # one minute before midnight in UTC
SOLD = {  # by product: minutes after START in which it sold, and cents
    "a": {0: 1050, 1: 33, 2: 10**15, 61: 5},
    "b": {0: 7, 61: 10**15, 63: 1},
}


@pytest.fixture
async def rows(probe: Probe) -> list[MetricRow]:
    rows = [
        MetricRow(START + 60 * minute, START + 60 * minute + 60, product, 3, cents, round(cents / 3))
        for product, minutes in SOLD.items()
        for minute, cents in minutes.items()
    ]
    session = await probe.session()
    epoch = await session.take_over("test", 10)
    assert epoch
    await session.write(epoch, rows, [Move(0, None, Position(1, 1))])
    await session.close()
    return rows


def normalised(value: object) -> object:
    """Both databases' values in one shape: amounts in cents, times in UTC as ISO text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    return round(value * 100) if isinstance(value, float | Decimal) else value


def view(probe: Probe, columns: str, name: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(map(normalised, row)) for row in probe.query(f"select {columns} from {name}"))


def utc(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("period", "length"), [("hour", HOUR), ("day", DAY)])
async def test_revenue_per_product_and_period(probe: Probe, rows: list[MetricRow], period: str, length: int) -> None:
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        begin = utc(row.window_start // length * length)
        total = sums[(begin if period == "hour" else begin[:10], row.product_id)]
        total[0] += row.order_count
        total[1] += row.revenue_cents
    assert len({start for start, _ in sums}) >= 2
    found = view(probe, f"{period}, product_id, order_count, total_revenue", f"revenue_per_product_per_{period}")
    assert found == sorted((*key, *total) for key, total in sums.items())


async def test_the_best_minute(probe: Probe, rows: list[MetricRow]) -> None:
    minutes: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        minutes[row.window_start] += row.revenue_cents
    best = max(minutes, key=minutes.__getitem__)
    found = view(probe, "minute, total_revenue, order_count", "best_minutes where rank = 1")
    assert found == [(utc(best), minutes[best], 6)]


async def test_the_share_of_revenue(probe: Probe, rows: list[MetricRow]) -> None:
    totals = {product: sum(sold.values()) for product, sold in SOLD.items()}
    found = view(probe, "product_id, total_revenue, percent", "revenue_share")
    assert found == [("a", totals["a"], 5000), ("b", totals["b"], 5000)]


async def test_windows_without_a_sale(probe: Probe, rows: list[MetricRow]) -> None:
    expected = {
        (product, utc(START + 60 * minute), utc(START + 60 * minute + 60))
        for product, sold in SOLD.items()
        for minute in range(64)
        if minute not in sold
    }
    found = view(probe, "product_id, window_start, window_end", "windows_without_sale")
    assert found == sorted(expected)


@pytest.mark.parametrize("probe", ["postgresql"], indirect=True)
async def test_windows_without_a_sale_do_not_depend_on_the_sessions_time_zone(probe: Probe) -> None:
    """Over the end of summer time: a day there has 25 hours, a window has 24."""
    first = int(datetime(2026, 10, 23, tzinfo=UTC).timestamp())
    sold = {"a": range(5), "b": (0, 4)}
    rows = [
        MetricRow(first + day * DAY, first + (day + 1) * DAY, product, 1, 100, 100)
        for product, days in sold.items()
        for day in days
    ]
    session = await probe.session()
    epoch = await session.take_over("test", 10)
    assert epoch
    await session.write(epoch, rows, [Move(0, None, Position(1, 1))])
    await session.close()
    [(database,)] = probe.query("select current_database()")
    probe.query(f"alter database {database} set timezone to 'Europe/Berlin'")
    found = view(probe, "product_id, window_start, window_end", "windows_without_sale")
    assert found == [("b", utc(first + day * DAY), utc(first + (day + 1) * DAY)) for day in (1, 2, 3)]


@pytest.mark.parametrize("probe", ["sqlite"], indirect=True)
async def test_dollars_in_sqlite(probe: Probe, rows: list[MetricRow]) -> None:
    found = view(probe, "*", "product_metrics_dollars")
    assert found == sorted(
        (
            utc(row.window_start),
            utc(row.window_end),
            row.product_id,
            row.order_count,
            row.revenue_cents,
            row.average_cents,
        )
        for row in rows
    )


async def test_an_empty_database_has_empty_views(probe: Probe) -> None:
    await (await probe.session()).close()
    for name in ("revenue_per_product_per_hour", "best_minutes", "revenue_share", "windows_without_sale"):
        assert view(probe, "*", name) == []
