"""The alert rules, checked by promtool, and the information that an alert has to contain."""

import re
import shutil
from pathlib import Path

import pytest

from libs.events.topics import SINK_GROUPS, STAGES
from tests.compose.project import ROOT, require_engine
from tests.compose.short_alert_rules import PROMETHEUS, write_shortened
from tests.monitoring.known_metrics import KNOWN_METRICS, recorded_metrics
from tests.monitoring.promtool import is_installed, promtool
from tests.monitoring.queries import RULES, group_patterns, metrics_of, panel_queries, topic_patterns

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
TIMING = Path(__file__).with_name("alert_timing.yml")


def blocks() -> dict[str, str]:
    """Each alert's text in the rules file."""
    parts = re.split(r"^ +- (?=alert: |record: )", RULES.read_text(), flags=re.MULTILINE)
    return {part.split()[1]: part for part in parts if part.startswith("alert: ")}


def field(block: str, name: str) -> str:
    """The one-line value of ``name``, or its indented lines."""
    [found] = re.findall(rf"^( +){name}: (?:[|>]-?\n((?:\1 +.*\n)+)|(.*))", block, re.MULTILINE)
    return str(found[1] or found[2]).strip()


@pytest.fixture(params=sorted(blocks()))
def alert(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_alert_has_a_severity_a_measured_value_and_a_runbook_link(alert: str) -> None:
    block = blocks()[alert]

    assert field(block, "severity") in {"critical", "warning"}
    assert re.fullmatch(r"\d+[sm]", field(block, "for"))
    assert field(block, "summary")
    if not field(block, "expr").startswith("absent("):
        assert "{{" in field(block, "description")  # a measured value or a name, not only fixed text
    assert field(block, "runbook")
    assert field(block, "runbook_url") == f"docs/runbook.md#{alert.lower()}"


def test_rules_are_evaluated_often_enough_for_slopes_whatever_the_default_interval() -> None:
    text = RULES.read_text()
    ranges_s = [int(number) * {"s": 1, "m": 60}[unit] for number, unit in re.findall(r"\[(\d+)([sm])\]", text)]
    intervals_s = [int(number) for number in re.findall(r"^    interval: (\d+)s$", text, re.MULTILINE)]

    assert len(intervals_s) == len(re.findall(r"^  - name: ", text, re.MULTILINE))
    assert 4 * max(intervals_s) <= min(ranges_s)


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == list(blocks())


def test_every_queried_metric_is_documented(alert: str) -> None:
    asked = metrics_of(field(blocks()[alert], "expr")) - {"and", "or", "unless"}

    assert asked <= KNOWN_METRICS | recorded_metrics()


@pytest.mark.parametrize("prefix", ["", "shop-", "shop.", "shop_1", "sink-", "Shop2"])
def test_groups_are_selected_whatever_the_topic_prefix(prefix: str) -> None:
    """Any TOPIC_PREFIX: it need not end with a hyphen."""
    exprs = [RULES.read_text(), *(query.expr for query in panel_queries())]
    patterns = {pattern for expr in exprs for pattern in group_patterns(expr)}
    selected = {
        group
        for group in (*STAGES, *SINK_GROUPS.values())
        if any(re.fullmatch(pattern, prefix + group) for pattern in patterns)
    }
    assert selected == {*STAGES, *SINK_GROUPS.values()}


def test_the_lag_of_the_sink_is_that_of_either_output() -> None:
    [query] = [query for query in panel_queries() if query.panel == "Sink: lag"]
    assert all(
        any(re.fullmatch(pattern, group) for pattern in group_patterns(query.expr)) for group in SINK_GROUPS.values()
    )


def test_the_panels_of_lag_select_the_topics_of_the_alert() -> None:
    """On a shared cluster kafka-exporter knows other programs' groups, such as payment-processor."""
    exprs = {query.panel: query.expr for query in panel_queries() if query.panel.endswith(": lag")}

    assert exprs.keys() == {"Processor: lag", "Analytics: lag", "Sink: lag"}
    for panel, expr in exprs.items():
        assert topic_patterns(expr) == topic_patterns(field(blocks()["LagGrowing"], "expr")), panel


def test_the_number_of_alerts_is_that_of_this_pipeline() -> None:
    """A cluster's Prometheus may have an alert that always fires, to show that alerts work."""
    [query] = [query for query in panel_queries() if query.panel == "Alerts"]
    [names] = re.findall(r'alertname=~"(.*?)"', query.expr)
    assert names.split("|") == list(blocks())


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with Prometheus' files and the timing test, to run promtool in."""
    if not is_installed():
        require_engine()
    for file in (*PROMETHEUS.iterdir(), TIMING):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_prometheus_accepts_the_configuration(rules: Path) -> None:
    checked = promtool(rules, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_and_clears_when_it_should(rules: Path) -> None:
    tested = promtool(rules, "test", "rules", TIMING.name)

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_timing_of_each_alert_is_tested() -> None:
    assert set(re.findall(r"alertname: (\w+)", TIMING.read_text())) == set(blocks())


def test_prometheus_accepts_the_shortened_rules(rules: Path) -> None:
    write_shortened(rules)

    checked = promtool(rules, "check", "config", "prometheus.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
