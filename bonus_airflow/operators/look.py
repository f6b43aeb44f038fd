"""The operator that checks the pipeline's health."""

from dataclasses import asdict
from typing import Any

from airflow.sdk import Context

from bonus_airflow.operations.health import Thresholds
from bonus_airflow.operations.health_record import HealthRecord
from bonus_airflow.operators.await_condition import AwaitCondition

LOOK_LIMIT_S = 600.0
"""Beyond the longest patience. A look has an end by itself, unless the pipeline cannot be looked at."""


class LookAtHealth(AwaitCondition):
    """Returns the ``findings`` and ``totals`` of a check; the thresholds are the run's parameters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(condition="health_look", timeout_s=LOOK_LIMIT_S, **kwargs)

    def execute(self, context: Context) -> None:
        thresholds = Thresholds.from_params(context["params"])
        self.timeout_s = LOOK_LIMIT_S + thresholds.longest_patience_s
        self.options = {"thresholds": asdict(thresholds), "totals": HealthRecord.load().totals}
        super().execute(context)
