"""The first and the last step of `pipeline_health`: finds the pipeline, and evaluates the findings."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bonus_airflow.notifier import Notification, notify
from bonus_airflow.operations.backend import running_backend
from bonus_airflow.operations.errors import PipelineUnwellError
from bonus_airflow.operations.health import Finding, moment
from bonus_airflow.operations.health_record import HealthRecord
from bonus_airflow.operations.run_marker import active_marker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The backend of the pipeline to be checked; if there is none, it is empty and ``reason`` says why."""

    backend: str
    reason: str = ""


def find_pipeline(is_active: Callable[[str], bool]) -> Found:
    """The pipeline of an active run of `pipeline_control`, or else whichever is running.

    A marker whose run has ended is ignored: its `clean_up` has failed. What the run has left behind is checked like a pipeline
    that a user has started. If nothing is running, that is no problem: the run would have stopped it anyway.

    Args:
        is_active: whether the run of `pipeline_control` with this id has not ended.
    """
    marker = active_marker(is_active)
    if marker:
        if marker.is_running:
            return Found(marker.backend)
        return Found("", f"run {marker.run_id} of pipeline_control is {marker.phase} the pipeline")
    if running := running_backend():
        return Found(running.name)
    return Found("", "no pipeline is running")


def judge(repaired: Mapping[str, Any], *, dag_id: str, run_id: str) -> None:
    """Notify of new and resolved problems; raise PipelineUnwellError if there is any problem."""
    findings = [Finding(**each) for each in repaired["findings"]]
    tried, gave_up = tuple(repaired["tried"]), repaired["gave_up"]
    record = HealthRecord.load()
    current, new, resolved = record.take(findings)
    record.totals = dict(repaired["totals"])
    record.save()

    for key in resolved:
        notify(Notification(dag_id, run_id, f"{key}: no longer", tried=tried, resolved=True))
    if tried and not findings:
        # Broken and repaired within this run.
        notify(Notification(dag_id, run_id, "every part is well again", moment(time.time()), tried, resolved=True))
    if not findings:
        log.info("every part is well")
        return
    what = "; ".join(each.text() for each in current)
    if gave_up:
        what += f"; given up after its restarts of the last hour: {', '.join(gave_up)}"
    if new or tried:
        notify(Notification(dag_id, run_id, what, moment(min(each.since_s for each in current)), tried))
    raise PipelineUnwellError(f"{what}; tried: {'; '.join(tried) or 'nothing'}")
