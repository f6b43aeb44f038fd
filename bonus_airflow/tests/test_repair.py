"""RepairBroken, with a pipeline whose restarts fail."""

import contextlib
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from bonus_airflow.operations.errors import CommandError
from bonus_airflow.operations.health import BROKEN, Finding
from bonus_airflow.operations.health_record import HealthRecord
from bonus_airflow.operations.run_marker import Phase, RunMarker, write_marker
from bonus_airflow.operators import repair
from bonus_airflow.operators.look import LookAtHealth
from bonus_airflow.tests.fakes import FakeBackend

PARAMS = {
    "unhealthy_seconds": 3,
    "max_restarts": 2,
    "slow_seconds": 3,
    "max_lag_seconds": 30,
    "max_watermark_age_seconds": 60,
    "max_dead_letter_share": 1,
    "max_sink_delay_seconds": 60,
}
LOOK: dict[str, Any] = {"findings": [asdict(Finding("processor-1", BROKEN, "exited", 5000.0))], "totals": {}}


TWO_BROKEN: dict[str, Any] = {
    "findings": [*LOOK["findings"], asdict(Finding("sink", BROKEN, "its disk is full", 5000.0))],
    "totals": {},
}


class AlwaysDies(FakeBackend):
    def restart(self, part: str) -> None:
        raise CommandError(["pipeline", "restart", part], 1, f"starting\n{part}: FATAL")


@pytest.fixture(autouse=True)
def broken_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setattr(repair, "backend_named", lambda _: AlwaysDies())


@pytest.mark.parametrize("seconds", ["unhealthy_seconds", "slow_seconds", "max_sink_delay_seconds"])
def test_a_look_may_last_longer_than_the_longest_patience(seconds: str) -> None:
    context: Any = {
        "params": PARAMS | {seconds: 3600},
        "ti": SimpleNamespace(try_number=2),
        "dag_run": SimpleNamespace(start_date=datetime.now(UTC)),
    }
    for task in (
        LookAtHealth(task_id="look", backend="local"),
        repair.RepairBroken(task_id="restart_broken", backend="local", look=LOOK),
    ):
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context)
        _, options = deferred.value.trigger.serialize()
        assert options["deadline_s"] >= time.time() + 3600


def tried_by(try_number: int, run_began_s: float) -> list[str]:
    """What a try of the task reports, in which the look after the restarts finds nothing broken."""
    context: Any = {
        "params": PARAMS,
        "ti": SimpleNamespace(try_number=try_number),
        "dag_run": SimpleNamespace(start_date=datetime.fromtimestamp(run_began_s, UTC)),
    }
    task = repair.RepairBroken(task_id="restart_broken", backend="local", look=LOOK)
    with pytest.raises(TaskDeferred):
        task.execute(context)
    tried: list[str] = task.resume(context, {"missing": [], "result": {"findings": [], "totals": {}}})["tried"]
    return tried


def test_another_try_reports_the_restarts_of_the_run_with_their_results() -> None:
    """The scheduler may fail a try that has deferred (operators/await_condition.py)."""
    began_s = time.time()
    expected = ["restart 1 of processor-1 failed (processor-1: FATAL)"]
    assert tried_by(1, began_s) == expected
    assert tried_by(2, began_s) == expected, "and it does not restart again before it has looked"


def test_a_part_that_is_given_up_does_not_keep_others_from_their_restarts() -> None:
    record = HealthRecord.load()
    for _ in range(PARAMS["max_restarts"]):
        record.add_restart("sink", time.time())
    record.save()
    context: Any = {
        "params": PARAMS,
        "ti": SimpleNamespace(try_number=1),
        "dag_run": SimpleNamespace(start_date=datetime.now(UTC)),
    }
    task = repair.RepairBroken(task_id="restart_broken", backend="local", look=TWO_BROKEN)
    with pytest.raises(TaskDeferred):
        task.execute(context)
    assert HealthRecord.load().restarts_of("processor-1", time.time()) == 1
    event = {"missing": [], "result": {"findings": TWO_BROKEN["findings"][1:], "totals": {}}}
    assert task.resume(context, event)["gave_up"] == ["sink"]
    assert HealthRecord.load().restarts_of("sink", time.time()) == PARAMS["max_restarts"]


@pytest.mark.parametrize(("is_active", "restarts"), [(True, 0), (False, 1)])
def test_a_run_that_is_stopping_the_pipeline_keeps_parts_from_a_restart_while_it_is_active(
    is_active: bool, restarts: int
) -> None:
    write_marker(RunMarker("one", "local", Phase.STOPPING))

    def dr_count(dag_id: str, *, run_ids: list[str], states: list[str]) -> int:
        assert (dag_id, run_ids, sorted(states)) == ("pipeline_control", ["one"], ["queued", "running"])
        return int(is_active)

    context: Any = {
        "params": PARAMS,
        "ti": SimpleNamespace(try_number=1, get_dr_count=dr_count),
        "dag_run": SimpleNamespace(start_date=datetime.now(UTC)),
    }
    with contextlib.suppress(TaskDeferred):
        repair.RepairBroken(task_id="restart_broken", backend="local", look=LOOK).execute(context)
    assert HealthRecord.load().restarts_of("processor-1", time.time()) == restarts


def test_restarts_of_an_earlier_run_are_not_reported() -> None:
    tried_by(1, time.time())
    assert tried_by(1, time.time()) == ["restart 2 of processor-1 failed (processor-1: FATAL)"]
