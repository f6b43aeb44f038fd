"""Writes the dashboards' files."""

import json
from pathlib import Path

from monitoring.dashboards.grafana import Json
from monitoring.dashboards.internals import INTERNALS
from monitoring.dashboards.kafka import KAFKA
from monitoring.dashboards.pipeline import PIPELINE
from monitoring.dashboards.runbook import RUNBOOK
from monitoring.dashboards.sales import SALES

DIRECTORY = Path(__file__).parents[1] / "grafana" / "dashboards"
DASHBOARDS: dict[str, Json] = {"pipeline": PIPELINE, "internals": INTERNALS, "kafka": KAFKA, "runbook": RUNBOOK}
IN_SQL: dict[str, Json] = {"database/sales": SALES}
"""Those that ask the sink's database rather than Prometheus."""


def as_text(dashboard: Json) -> str:
    """A dashboard as its file has it."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them all."""
    for name, dashboard in (DASHBOARDS | IN_SQL).items():
        (DIRECTORY / f"{name}.json").write_text(as_text(dashboard))


if __name__ == "__main__":
    main()
