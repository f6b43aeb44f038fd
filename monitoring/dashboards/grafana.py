"""Helpers that create Grafana's JSON (schema 42, Grafana 12).

Queries are a mapping from a series' legend (`{{label}}` is the label's value) to its PromQL.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
RUNBOOK_UID = "pipeline-runbook"
RUNBOOK_URL = f"/d/{RUNBOOK_UID}"
_DATASOURCE: Json = {"type": "prometheus", "uid": "prometheus"}

_RULES = Path(__file__).parents[1] / "prometheus" / "alerts.yml"
_NAMES = "|".join(re.findall(r"- alert: (\w+)", _RULES.read_text()))
# Others in the same Prometheus, such as a Watchdog that always fires, are not this pipeline's.
FIRING_ALERTS = f'ALERTS{{alertstate="firing", alertname=~"{_NAMES}"}}'


def stat(title: str, query: str, unit: str, about: str, limits: tuple[float, ...] = (), alert: str = "") -> Json:
    """One number with a sparkline; red from the last of ``limits``, orange from the one before."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "graphMode": "area",
        "colorMode": "value",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "wideLayout": True,
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
    }
    defaults = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": _thresholds(limits), "noValue": "none"}
    return _panel("stat", title, about, {"": query}, defaults, options, alert)


def lines(
    title: str, queries: Mapping[str, str], unit: str, about: str, limit: float | None = None, alert: str = ""
) -> Json:
    """Values over time; a dashed red line at ``limit``."""
    style: Json = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
    if limit is not None:
        style["thresholdsStyle"] = {"mode": "dashed"}
    return _plot(title, queries, unit, about, style, () if limit is None else (limit,), alert)


def bars(title: str, queries: Mapping[str, str], unit: str, about: str, every: str) -> Json:
    """Stacked bars of sums over ``every``."""
    style: Json = {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
    return _plot(title, queries, unit, about, style, (), "") | {"interval": every}


def text(title: str, markdown: str) -> Json:
    """A text panel."""
    return {"type": "text", "title": title, "options": {"mode": "markdown", "content": markdown}}


@dataclass(frozen=True)
class Row:
    """Panels side by side, equally wide."""

    title: str
    height: int
    panels: Sequence[Json]


def dashboard(uid: str, title: str, about: str, rows: Sequence[Row], variables: Sequence[Json] = ()) -> Json:
    """A dashboard. Every dashboard links to the others."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        if row.title:
            panels.append(
                {
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "panels": [],
                    "gridPos": _place(0, y, COLUMNS, 1),
                }
            )
            y += 1
        width = COLUMNS // len(row.panels)
        panels += [
            panel | {"gridPos": _place(number * width, y, width, row.height)} for number, panel in enumerate(row.panels)
        ]
        y += row.height
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["pipeline"],
        "schemaVersion": 42,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_ALERTS]},
        "links": [_LINKS],
        "templating": {"list": list(variables)},
        "panels": [panel | {"id": number} for number, panel in enumerate(panels, start=1)],
    }


def choice(name: str, label: str, query: str) -> Json:
    """A drop-down with the values of ``query`` (`label_values(...)`); the default is all."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


_ALERTS: Json = {
    "name": "Alerts",
    "datasource": _DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": FIRING_ALERTS,
    "titleFormat": "{{alertname}}",
    "textFormat": "{{consumergroup}}{{job}}",
    "step": "5s",
}
_LINKS: Json = {
    "type": "dashboards",
    "title": "Pipeline",
    "tags": ["pipeline"],
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
}


def _plot(
    title: str,
    queries: Mapping[str, str],
    unit: str,
    about: str,
    style: Json,
    limits: tuple[float, ...],
    alert: str,
) -> Json:
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic-by-name"},
        "custom": style,
        "thresholds": _thresholds(limits),
    }
    return _panel("timeseries", title, about, queries, defaults, options, alert)


def _panel(
    kind: str, title: str, about: str, queries: Mapping[str, str], defaults: Json, options: Json, alert: str
) -> Json:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _DATASOURCE,
            "expr": query,
            "legendFormat": name or "__auto",
            "editorMode": "code",
            "range": True,
        }
        for number, (name, query) in enumerate(queries.items())
    ]
    panel: Json = {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }
    return panel | {"links": [_link(f"Runbook: {alert}", RUNBOOK_URL)]} if alert else panel


def _link(title: str, url: str) -> Json:
    return {
        "type": "link",
        "title": title,
        "url": url,
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": False,
        "icon": "",
        "tooltip": "",
    }


def _thresholds(limits: tuple[float, ...]) -> Json:
    colors = ("green", "red") if len(limits) == 1 else ("green", "orange", "red")
    steps = [{"color": color, "value": value} for color, value in zip(colors, (None, *limits), strict=False)]
    return {"mode": "absolute", "steps": steps}


def _place(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "w": width, "h": height}
