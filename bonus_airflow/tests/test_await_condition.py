"""What a task that has waited in vain reports."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from bonus_airflow.operators.await_condition import AwaitCondition, WatchUntil


def awaiting() -> AwaitCondition:
    return AwaitCondition(task_id="wait", backend="local", condition="drained", timeout_s="360")


def watching() -> AwaitCondition:
    return WatchUntil(task_id="watch", backend="local", run_seconds="300", grace_s=60.0)


@pytest.mark.parametrize("task", [awaiting, watching])
def test_a_resumed_task_reports_how_long_it_has_waited(task: Callable[[], AwaitCondition]) -> None:
    context: Any = {}
    with pytest.raises(TaskDeferred) as deferred:
        task().execute(context)
    resumed = task()
    with pytest.raises(AirflowFailException, match="not within 360 s: the analytics"):
        resumed.resume(context, {"missing": ["the analytics"], "result": None}, **(deferred.value.kwargs or {}))
