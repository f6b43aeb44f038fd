"""Looks at the running pipeline every minute, restarts what is broken, and says what is wrong.

A part is broken when its process, its container or its `/health` says so for longer than `unhealthy_seconds`: only that part is
restarted, at most `max_restarts` times within an hour. A container that is starting is left to Docker for five minutes. A part
that is only slow is never restarted: lag, the watermark's age, the share of dead letters and the sink's delay fail the run when
they pass their thresholds. Where no pipeline runs, or `pipeline_control` is starting or stopping it, the run is skipped.
"""

import os
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from bonus_airflow.notifier import notify_failure
from bonus_airflow.operations import health_judgement
from bonus_airflow.operators.control_runs import activity_of_runs
from bonus_airflow.operators.look import LookAtHealth
from bonus_airflow.operators.repair import RepairBroken

_SCHEDULE = os.environ.get("PIPELINE_HEALTH_SCHEDULE", "* * * * *")

PARAMS = {
    "unhealthy_seconds": Param(
        30,
        type="integer",
        minimum=1,
        maximum=3600,
        title="Patience with a broken part, in seconds",
        description="So long a part must be down or unhealthy to be restarted; what comes back by itself sooner is left alone.",
    ),
    "max_restarts": Param(
        3,
        type="integer",
        minimum=0,
        maximum=100,
        title="Restarts of a part within an hour",
        description="After so many the run gives the part up and says so. 0 only looks.",
    ),
    "slow_seconds": Param(
        20,
        type="integer",
        minimum=0,
        maximum=3600,
        title="Patience with a slow part, in seconds",
        description="So long the lag or the watermark's age must be above its threshold.",
    ),
    "max_lag_seconds": Param(
        30,
        type="number",
        minimum=0,
        maximum=86_400,
        title="Lag, in seconds of work",
        description="How long a stage may need for what it has still to read, at its pace of the last ten seconds.",
    ),
    "max_watermark_age_seconds": Param(
        60,
        type="number",
        minimum=1,
        maximum=604_800,
        title="Age of the watermark, in seconds",
        description="How far event time may be behind the clock while orders come or a window is open.",
    ),
    "max_dead_letter_share": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Share of dead letters",
        description="Of the orders processed since the last look. Up to ten dead letters are ignored.",
    ),
    "max_sink_delay_seconds": Param(
        60,
        type="number",
        minimum=1,
        maximum=86_400,
        title="Delay of the sink, in seconds",
        description="How long finished metrics may wait to be written.",
    ),
}


@dag(
    dag_id="pipeline_health",
    schedule=_SCHEDULE or None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params=PARAMS,
    default_args={"on_failure_callback": notify_failure},
    tags=["pipeline"],
    doc_md=__doc__,
)
def pipeline_health() -> None:
    """The tasks, in their order."""

    @task
    def find_pipeline(ti: Any) -> str:
        found = health_judgement.find_pipeline(activity_of_runs(ti))
        if not found.backend:
            raise AirflowSkipException(found.reason)
        return found.backend

    # It sends its own notification, with the steps that were tried.
    @task(on_failure_callback=None)
    def judge(repaired: dict[str, Any], run_id: str) -> None:
        health_judgement.judge(repaired, dag_id="pipeline_health", run_id=run_id)

    backend = find_pipeline()
    look = LookAtHealth(task_id="look", backend=backend)
    repair = RepairBroken(task_id="restart_broken", backend=backend, look=look.output)
    look >> repair
    judge(repair.output)


pipeline_health()
