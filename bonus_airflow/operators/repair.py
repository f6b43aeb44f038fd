"""The operator that restarts broken parts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from bonus_airflow.operations.backend import backend_named
from bonus_airflow.operations.errors import CommandError
from bonus_airflow.operations.health import BROKEN, Finding, Thresholds
from bonus_airflow.operations.health_record import HealthRecord
from bonus_airflow.operations.run_marker import active_marker
from bonus_airflow.operators.await_condition import DEFERRING
from bonus_airflow.operators.control_runs import activity_of_runs
from bonus_airflow.operators.look import LOOK_LIMIT_S
from bonus_airflow.triggers.condition_trigger import ConditionTrigger

_POLL_S = 2.0


class RepairBroken(BaseOperator):
    """Restarts broken parts and checks again, until no broken part has a restart left.

    Returns the last check's ``findings``, ``tried`` (one entry a step) and ``gave_up`` (parts). Slow parts are not restarted.
    Between a restart and the end of the following check the task is deferred.

    Args:
        backend: ``local`` or ``compose``; a template.
        look: the first check's result; a template.
    """

    template_fields: Sequence[str] = ("backend", "look")

    def __init__(self, *, backend: Any, look: Any, **kwargs: Any) -> None:
        super().__init__(**(DEFERRING | kwargs))
        self.backend = backend
        self.look = look

    def execute(self, context: Context) -> dict[str, Any]:
        if context["ti"].try_number > 1:  # the first check is from before the restarts of the previous try
            return self._look_again(context, self.look["totals"])
        return self._next_step(context, self.look)

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the check that follows a restart."""
        if event["missing"]:
            tried = "; ".join(_restarts_of_run(context, HealthRecord.load()))
            raise AirflowFailException(f"after {tried}: no look at the pipeline: {'; '.join(event['missing'])}")
        return self._next_step(context, event["result"])

    def _next_step(self, context: Context, look: Mapping[str, Any]) -> dict[str, Any]:
        broken = [Finding(**each) for each in look["findings"] if each["kind"] == BROKEN]
        record = HealthRecord.load()
        tried = _restarts_of_run(context, record)
        done = {"findings": look["findings"], "totals": look["totals"], "tried": tried, "gave_up": []}
        if not broken:
            return done
        limit = int(context["params"]["max_restarts"])
        spent = [each.part for each in broken if record.restarts_of(each.part, time.time()) >= limit]
        marker = active_marker(activity_of_runs(context["ti"]))
        left = [each.part for each in broken if each.part not in spent]
        if not left or (marker and not marker.is_running) or not backend_named(self.backend).can_control:
            return done | {"gave_up": spent}
        for part in left:
            self._restart(part, record)
        return self._look_again(context, look["totals"])

    def _look_again(self, context: Context, totals: Mapping[str, int]) -> NoReturn:
        thresholds = Thresholds.from_params(context["params"])
        self.defer(
            trigger=ConditionTrigger(
                backend=self.backend,
                condition="health_look",
                options={"thresholds": asdict(thresholds), "totals": totals},
                deadline_s=time.time() + LOOK_LIMIT_S + thresholds.longest_patience_s,
                poll_s=_POLL_S,
            ),
            method_name="resume",
        )

    def _restart(self, part: str, record: HealthRecord) -> None:
        restart = record.add_restart(part, time.time())
        record.save()  # before the restart, which may take this task's process with it
        try:
            backend_named(self.backend).restart(part)
            restart.failure = None
        except CommandError as error:
            restart.failure = error.last_line
        record.save()


def _restarts_of_run(context: Context, record: HealthRecord) -> list[str]:
    """What this run has restarted, in any try of its task."""
    began = context["dag_run"].start_date  # not `run_after`, before which an earlier run may not have ended
    assert began, "a run whose task runs has started"
    return record.restarts_since(began.timestamp())
