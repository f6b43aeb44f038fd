"""An operator that waits without holding a worker slot."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, Context

from bonus_airflow.operators.await_condition import DEFERRING


class Pause(BaseOperator):
    """Defers for a while, and has nothing to do afterwards.

    Args:
        seconds: a template; not less than ``at_least_s``.
        at_least_s: what the next task relies on.
    """

    template_fields: Sequence[str] = ("seconds",)

    def __init__(self, *, seconds: str, at_least_s: float, **kwargs: Any) -> None:
        super().__init__(**(DEFERRING | kwargs))
        self.seconds = seconds
        self.at_least_s = at_least_s

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow passes it
        pause = timedelta(seconds=max(float(self.seconds), self.at_least_s))
        self.defer(trigger=TimeDeltaTrigger(pause, end_from_trigger=True), method_name="execute_complete")
