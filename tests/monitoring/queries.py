"""Every query that a person or an alert asks, as data."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = ROOT / "monitoring" / "grafana" / "dashboards"
RULES = ROOT / "monitoring" / "prometheus" / "alerts.yml"

Json = dict[str, Any]

# What Grafana puts in: the span over which a rate makes sense, and all choices of a drop-down.
_BUILT_IN = {"__rate_interval": "20s", "__interval": "15s", "__range": "15m"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


class PanelQuery(NamedTuple):
    """One query of one panel, with the variables still in it, and the labels that its legend names."""

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


def variables_of(expr: str) -> set[str]:
    """The variables in ``expr`` that a dashboard has to define."""
    return {braced or plain for braced, plain in _VARIABLE.findall(expr)} - set(_BUILT_IN)


def with_everything_chosen(expr: str) -> str:
    """``expr`` as Grafana sends it when each drop-down stands at "All"."""
    return _VARIABLE.sub(lambda found: _BUILT_IN.get(found[1] or found[2], ".*"), expr)


def metrics_of(expr: str) -> set[str]:
    """Names of metrics in ``expr``: what could be one and is no label, function or string."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"\b(?:ALERTS|up|[a-z]\w*_[\w:]+)\b(?!\s*\()", bare))
