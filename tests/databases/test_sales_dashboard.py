"""Dashboard *Sales*: each of its queries on a real PostgreSQL that a sink has filled."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from libs.events.product_metrics import MetricRow
from monitoring.dashboards.__main__ import DIRECTORY, IN_SQL, as_text
from monitoring.dashboards.sales import DATABASE, SALES
from services.sink.database.session import Move
from services.sink.record_batcher import Position
from tests.databases.postgresql import PostgresServer
from tests.databases.probes import PostgresqlProbe
from tests.monitoring.queries import ROOT

START = 1_795_305_600
SHOWN = [
    MetricRow(START + 60 * minute, START + 60 * minute + 60, f"prod-{product}", 2 + product, 1001 * product + minute, 7)
    for minute in range(90)
    for product in (1, 2)
]
BEFORE = [MetricRow(START - 864_000, START - 863_940, "prod-1", 5, 10**9, 1)]
PANELS: dict[str, Any] = {panel["title"]: panel for panel in SALES["panels"]}
REVENUE = Decimal(sum(row.revenue_cents for row in SHOWN)) / 100


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    return postgres.create_database("sales")


@pytest.fixture
async def probe(database: str) -> PostgresqlProbe:
    probe = PostgresqlProbe(database)
    session = await probe.session()
    if not probe.rows():
        epoch = await session.take_over("test", 10)
        assert epoch
        await session.write(epoch, [*BEFORE, *SHOWN], [Move(0, None, Position(1, 1))])
    await session.close()
    return probe


def ask(probe: PostgresqlProbe, title: str) -> list[tuple[Any, ...]]:
    """The rows that Grafana would get for a panel, with macros expanded as in Grafana's documentation."""
    sql = PANELS[title]["targets"][0]["rawSql"]
    begin, end = (datetime.fromtimestamp(at, UTC).isoformat() for at in (START, START + 5400 - 1))
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN '{begin}' AND '{end}'", sql)
    sql = re.sub(r"\$__timeGroup\((\w+), \$__interval\)", r"floor(extract(epoch from \1)/600)*600", sql)
    sql = sql.replace("$__timeFrom()", f"'{begin}'").replace("$__timeTo()", f"'{end}'")
    assert "$" not in sql
    return probe.query(sql)


async def test_the_totals_cover_the_selected_time_range(probe: PostgresqlProbe) -> None:
    orders = sum(row.order_count for row in SHOWN)
    assert ask(probe, "Revenue") == [(REVENUE,)]
    assert ask(probe, "Orders") == [(orders,)]
    assert ask(probe, "Average order") == [(round(REVENUE / orders, 2),)]


async def test_the_plots_add_up_to_the_totals(probe: PostgresqlProbe) -> None:
    points = ask(probe, "Revenue by product")
    assert len(points) == 2 * 9
    assert sum(value for _, _, value in points) == REVENUE
    assert {product for _, product, _ in points} == {"prod-1", "prod-2"}
    assert sum(value for _, _, value in ask(probe, "Orders by product")) == sum(row.order_count for row in SHOWN)


async def test_the_tables_show_the_expected_rows(probe: PostgresqlProbe) -> None:
    shares = ask(probe, "Share of revenue")
    assert [row[0] for row in shares] == ["prod-2", "prod-1"]
    assert sum(row[2] for row in shares) == REVENUE
    best = ask(probe, "Best minutes")
    assert len(best) == 10
    assert best[0][0] == datetime.fromtimestamp(START + 60 * 89, UTC)
    days = ask(probe, "Days")
    assert sum(row[2] for row in days) == REVENUE


async def test_every_panel_is_tested(probe: PostgresqlProbe) -> None:
    for title in PANELS:
        assert ask(probe, title), title


def test_the_file_is_up_to_date_with_the_code() -> None:
    for name, made in IN_SQL.items():
        assert (DIRECTORY / f"{name}.json").read_text() == as_text(made)


def datasources() -> Iterator[dict[str, str]]:
    for path in (ROOT / "monitoring" / "grafana" / "provisioning" / "datasources").glob("*.yaml"):
        yield dict(re.findall(r"^ +(type|uid): (\S+)", path.read_text(), re.MULTILINE))


def test_the_data_source_is_provisioned() -> None:
    named = {json.dumps(each, sort_keys=True) for each in find(SALES, "datasource")}
    known = {json.dumps(each, sort_keys=True) for each in datasources()}
    assert json.dumps(DATABASE, sort_keys=True) in named
    assert named <= known


def find(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name:
                yield inner
            yield from find(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from find(inner, name)
