"""Dashboard *Runbook*: docs/runbook.md in Grafana, beside the alerts."""

import re
from pathlib import Path

from monitoring.dashboards.grafana import RUNBOOK_UID, Json, Row, dashboard, text

_TEXT = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")  # links into the repository do not work in Grafana
_INTRODUCTION, *_SECTIONS = re.split(r"^##? ", _LINK.sub(r"\1", _TEXT), flags=re.MULTILINE)[1:]


def _panel(section: str) -> Json:
    title, _, body = section.partition("\n")
    return text(title, body.strip())


RUNBOOK = dashboard(
    RUNBOOK_UID,
    "Runbook",
    "What each alert means, how to look and what to do: docs/runbook.md.",
    [
        Row("", 5, [_panel(_INTRODUCTION)]),
        *(Row("", 11, [_panel(one) for one in _SECTIONS[at : at + 2]]) for at in range(0, len(_SECTIONS), 2)),
    ],
)
