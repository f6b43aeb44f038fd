"""Checks of the dashboards' JSON and queries, without Grafana."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from monitoring.dashboards.__main__ import DASHBOARDS as MADE
from monitoring.dashboards.__main__ import as_text
from monitoring.dashboards.promql import per_minute
from tests.compose.project import require_engine
from tests.monitoring.known_metrics import KNOWN_METRICS, recorded_metrics
from tests.monitoring.promtool import is_installed, promtool
from tests.monitoring.queries import (
    DASHBOARDS,
    ROOT,
    Json,
    PanelQuery,
    annotations,
    choices,
    dashboards,
    metrics_of,
    panel_queries,
    variables_of,
    with_all_selected,
)

# Of @grafana/schema and @grafana/data 12.3.1.
SCHEMA_VERSION = 42
PANEL_KINDS = {"row", "stat", "timeseries", "table", "text"}
UNITS = {"none", "short", "locale", "percentunit", "currencyUSD", "s", "bytes", "recps", "cps", "ops", "wps"}
COLORS = {"green", "orange", "red"}

NAMES = sorted(dashboards())
DATASOURCE_FILE = ROOT / "monitoring" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> Json:
    return dashboards()[request.param]


def panels(dashboard: Json, *kinds: str) -> list[Json]:
    return [panel for panel in dashboard["panels"] if not kinds or panel["type"] in kinds]


def plotted(dashboard: Json) -> list[Json]:
    return panels(dashboard, *PANEL_KINDS - {"row", "text"})


def test_the_files_are_up_to_date_with_the_code() -> None:
    """`python -m monitoring.dashboards` writes them."""
    assert {path.stem: path.read_text() for path in DASHBOARDS.glob("*.json")} == {
        name: as_text(made) for name, made in MADE.items()
    }


def test_uids_and_titles_are_unique() -> None:
    everything = dashboards().values()

    assert len({one["uid"] for one in everything}) == len({one["title"] for one in everything}) == len(NAMES)


def test_the_dashboard_settings_are_complete(dashboard: Json) -> None:
    assert re.fullmatch(r"[a-z0-9-]{1,40}", dashboard["uid"])
    assert dashboard["schemaVersion"] == SCHEMA_VERSION
    assert dashboard["title"]
    assert dashboard["description"]
    assert set(dashboard["time"]) == {"from", "to"}
    assert "id" not in dashboard  # Grafana's own, of one instance


def test_each_panel_has_the_fields_that_its_type_requires(dashboard: Json) -> None:
    for panel in panels(dashboard):
        assert panel["type"] in PANEL_KINDS
    for panel in plotted(dashboard):
        assert panel["title"], panel
        assert panel["description"], panel["title"]
        assert panel["options"], panel["title"]
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for panel in panels(dashboard, "text"):
        assert panel["options"]["content"]


def test_panel_ids_and_titles_are_unique(dashboard: Json) -> None:
    ids = Counter(panel["id"] for panel in panels(dashboard))
    titles = Counter(panel["title"] for panel in plotted(dashboard))

    assert max(ids.values()) == max(titles.values(), default=1) == 1
    assert min(ids) > 0


def cells(panel: Json) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    return {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}


def test_panels_do_not_overlap_and_stay_within_the_grid(dashboard: Json) -> None:
    for one, other in combinations(panels(dashboard), 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    for panel in panels(dashboard):
        assert {x for x, _ in cells(panel)} <= set(range(24)), panel["title"]


def test_units_and_colours_exist_in_grafana(dashboard: Json) -> None:
    for panel in plotted(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        steps = defaults["thresholds"]["steps"]
        assert defaults["unit"] in UNITS, panel["title"]
        assert {step["color"] for step in steps} <= COLORS
        assert steps[0]["value"] is None, panel["title"]  # where the first colour begins
        assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:]), panel["title"]


def test_every_panel_uses_the_provisioned_data_source(dashboard: Json) -> None:
    [uid] = re.findall(r"^ +uid: (\S+)", DATASOURCE_FILE.read_text(), re.MULTILINE)

    named = re.findall(r'"datasource": (\{[^}]*\})', json.dumps(dashboard))

    assert {tuple(sorted(json.loads(source).items())) for source in named} <= {(("type", "prometheus"), ("uid", uid))}


def test_used_variables_are_defined_and_defined_variables_are_used(dashboard: Json) -> None:
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {
        name for panel in plotted(dashboard) for target in panel["targets"] for name in variables_of(target["expr"])
    }

    assert used == defined


def test_linked_dashboards_exist(dashboard: Json) -> None:
    uids = {one["uid"] for one in dashboards().values()}
    text = json.dumps(dashboard)

    assert set(re.findall(r'"url": "/d/([\w-]+)', text) + re.findall(r"\]\(/d/([\w-]+)", text)) <= uids


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: f"{query.dashboard}: {query.panel}")
def test_every_queried_metric_is_documented(query: PanelQuery) -> None:
    asked = metrics_of(with_all_selected(query.expr))

    assert asked
    assert asked <= KNOWN_METRICS | recorded_metrics()


def test_metrics_of_drop_downs_and_annotations_are_documented() -> None:
    annotated = set().union(*(metrics_of(annotation["expr"]) for annotation in annotations()))

    assert annotated
    assert annotated | {each.metric for each in choices()} <= KNOWN_METRICS


def check_last_minute(tmp_path: Path, series: dict[str, str], expected: dict[str, dict[str, int]]) -> None:
    """By promtool: ``expected`` has the orders of the last minute by time and product, of a scrape every five seconds."""
    if not is_installed():
        require_engine()
    tests = [
        {
            "expr": per_minute("pipeline_closed_orders_total"),
            "eval_time": at,
            "exp_samples": [{"labels": f'{{product_id="{name}"}}', "value": value} for name, value in found.items()],
        }
        for at, found in expected.items()
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    file = {
        "rule_files": [],
        "evaluation_interval": "5s",
        "tests": [{"interval": "5s", "input_series": inputs, "promql_expr_test": tests}],
    }
    (tmp_path / "test.yml").write_text(json.dumps(file))
    tested = promtool(tmp_path, "test", "rules", "test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_last_minute_is_not_the_whole_past_after_a_scrape_that_failed(tmp_path: Path) -> None:
    """10 orders in each scrape's five seconds, of a process that is older than Prometheus."""
    labels = 'job="analytics", instance="a"'
    series = {
        f'pipeline_closed_orders_total{{{labels}, product_id="old"}}': "_x5 1000+10x24 stale 1260+10x60",
        f'pipeline_closed_orders_total{{{labels}, product_id="new"}}': "_x75 10+10x20",
        f"up{{{labels}}}": "_x5 1x24 0 1x60",
        f"process_start_time_seconds{{{labels}}}": "_x5 -86400x24 stale -86400x60",
    }
    expected: dict[str, dict[str, int]] = {
        "30s": {},  # Prometheus has known it for no minute
        "100s": {"old": 120},
        "210s": {},  # a minute after the scrape that failed
        "215s": {"old": 120},
        "400s": {"old": 120, "new": 60},
    }
    check_last_minute(tmp_path, series, expected)


def test_the_last_minute_has_the_orders_since_a_restart(tmp_path: Path) -> None:
    """A replica that starts again at its address, as a container does, counts from 0."""
    labels = 'job="analytics", instance="a"'
    series = {
        f'pipeline_closed_orders_total{{{labels}, product_id="p"}}': "1000+10x39 10+10x40",  # from 200 s on
        f"up{{{labels}}}": "1x80",
        f"process_start_time_seconds{{{labels}}}": "-86400x39 198x40",
    }
    expected = {"195s": {"p": 120}, "200s": {"p": 10}, "230s": {"p": 70}, "255s": {"p": 120}, "260s": {"p": 120}}
    check_last_minute(tmp_path, series, expected)
