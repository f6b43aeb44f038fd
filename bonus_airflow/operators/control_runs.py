"""Asks Airflow about the runs of `pipeline_control`."""

from collections.abc import Callable

from airflow.sdk import DagRunState
from airflow.sdk.types import RuntimeTaskInstanceProtocol

_DAG = "pipeline_control"
_ACTIVE = [DagRunState.QUEUED.value, DagRunState.RUNNING.value]


def activity_of_runs(task_instance: RuntimeTaskInstanceProtocol) -> Callable[[str], bool]:
    """Whether the run with an id is still active; one that was deleted is not.

    Args:
        task_instance: ``ti`` of the task's context, by which the task asks Airflow.
    """
    return lambda run_id: bool(task_instance.get_dr_count(_DAG, run_ids=[run_id], states=_ACTIVE))
