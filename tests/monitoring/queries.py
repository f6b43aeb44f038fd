"""All queries of dashboards and alerts, as data."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from libs.events.topics import LATE_ORDERS, ORDERS, ORDERS_DLQ, PROCESSED_ORDERS, PRODUCT_METRICS

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = ROOT / "monitoring" / "grafana" / "dashboards"
RULES = ROOT / "monitoring" / "prometheus" / "alerts.yml"

Json = dict[str, Any]

OFFERED = {
    "service": {"generator", "processor", "analytics", "sink", "live"},
    "topic": {topic.name for topic in (ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS, ORDERS_DLQ, LATE_ORDERS)},
}
"""The values of each drop-down if only the pipeline runs, and the live page exports Kafka's metrics."""

# Grafana's variables for durations, such as a suitable range for rate().
_BUILT_IN = {"__rate_interval": "20s", "__interval": "15s", "__range": "15m"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


class PanelQuery(NamedTuple):
    """One query of one panel, with variables, and the labels in its legend."""

    dashboard: str
    panel: str
    expr: str
    labels: frozenset[str]


def dashboards() -> dict[str, Json]:
    """Each dashboard's JSON by its file's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panel_queries() -> list[PanelQuery]:
    found = []
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                labels = frozenset(re.findall(r"{{ *(\w+) *}}", target["legendFormat"]))
                found.append(PanelQuery(name, panel["title"], target["expr"], labels))
    return found


class Choices(NamedTuple):
    """The values of a variable's drop-down: those of ``label`` in ``metric``."""

    variable: str
    metric: str
    label: str


def choices() -> list[Choices]:
    """Every drop-down of every dashboard."""
    return [
        Choices(variable["name"], *re.findall(r"^label_values\((\w+), (\w+)\)$", variable["query"]["query"])[0])
        for dashboard in dashboards().values()
        for variable in dashboard["templating"]["list"]
    ]


def annotations() -> list[Json]:
    """The distinct annotations of the dashboards."""
    found = [each for dashboard in dashboards().values() for each in dashboard["annotations"]["list"]]
    return list({each["name"]: each for each in found}.values())


def variables_of(expr: str) -> set[str]:
    """The variables in ``expr`` that the dashboard has to define."""
    return {braced or plain for braced, plain in _VARIABLE.findall(expr)} - set(_BUILT_IN)


def with_all_selected(expr: str) -> str:
    """``expr`` as Grafana sends it if "All" is selected in each drop-down."""

    def value(name: str) -> str:
        return _BUILT_IN[name] if name in _BUILT_IN else "|".join(sorted(OFFERED[name]))

    return _VARIABLE.sub(lambda found: value(found[1] or found[2]), expr)


def metrics_of(expr: str) -> set[str]:
    """The names of metrics in ``expr``: all names that are not labels, functions or strings."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"\b(?:ALERTS|up|[a-z][\w:]*_[\w:]+)\b(?!\s*\()", bare))


def group_patterns(expr: str) -> set[str]:
    """The patterns by which ``expr`` selects consumer groups."""
    return set(re.findall(r'consumergroup=~"([^"]*)"', expr))


def topic_patterns(expr: str) -> set[str]:
    """The patterns by which ``expr`` selects topics of consumer groups' lags."""
    return set(re.findall(r'consumergroup=~"[^"]*",\s*topic=~"([^"]*)"', expr))
