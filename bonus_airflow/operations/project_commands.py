"""How the project's commands find the pipeline, when no run has chosen one: as a person's `make` does."""

import os
from pathlib import Path

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.commands import SERVICES_PYTHON

BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"


def project_command(module: str, verb: str) -> list[str | Path]:
    """``module`` at the broker that KAFKA_BOOTSTRAP_SERVERS names, or without it ``verb`` of local mode's running pipeline."""
    if os.environ.get(BOOTSTRAP):
        return [SERVICES_PYTHON, "-m", module]
    return [SERVICES_PYTHON, ROOT / "local" / "pipeline.py", verb]
