"""`pipeline_health` with a real scheduler and triggerer, and a pipeline that a person has started and something happens to."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

from bonus_airflow.tests.airflow_processes import Airflow, eventually
from bonus_airflow.tests.local_pipeline import LocalPipeline

DAG = "pipeline_health"
# On a busy machine a healthy part may not answer for some seconds.
PATIENT = {"unhealthy_seconds": 10, "slow_seconds": 10, "max_dead_letter_share": 1, "max_lag_seconds": 600}


@pytest.fixture(scope="module")
def running(shared_pipeline: LocalPipeline) -> Iterator[LocalPipeline]:
    """One pipeline for all tests of this file, which leave it well."""
    shared_pipeline.make_empty()
    shared_pipeline.start("--processors", "2")
    yield shared_pipeline
    shared_pipeline("down")


def run(airflow: Airflow, **params: object) -> tuple[str, str]:
    run_id = airflow.trigger(DAG, **(PATIENT | params))
    return run_id, airflow.await_run(DAG, run_id)


def test_without_a_pipeline_there_is_nothing_to_look_at(airflow: Airflow, pipeline: LocalPipeline) -> None:
    run_id, state = run(airflow)
    assert state == "success", airflow.failure_details(DAG, run_id)
    assert set(airflow.states(DAG, run_id).values()) == {"skipped"}
    assert "no pipeline is running" in airflow.log_of(DAG, run_id, "find_pipeline")


def test_a_healthy_pipeline(airflow: Airflow, running: LocalPipeline) -> None:
    before = running.pids()
    run_id, state = run(airflow)
    assert state == "success", airflow.failure_details(DAG, run_id)
    assert set(airflow.states(DAG, run_id).values()) == {"success"}
    assert running.pids() == before
    # What tasks hand on survives Airflow's JSON as it is: no key is a number, no value a decimal.
    found = airflow.get(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/look/xcomEntries/return_value", deserialize=True)
    assert found["value"]["findings"] == []
    assert found["value"]["totals"]["orders"] > 0


def test_a_marker_counts_while_its_run_is_active(airflow: Airflow, running: LocalPipeline) -> None:
    airflow.patch("/dags/pipeline_control", {"is_paused": True})  # a queued run of it is active, and does nothing
    claiming = airflow.trigger("pipeline_control", backend="local")
    marker = airflow.home / "pipeline_run.json"
    marker.write_text(json.dumps({"run_id": claiming, "backend": "local", "phase": "stopping"}))
    run_id, _ = run(airflow)
    assert set(airflow.states(DAG, run_id).values()) == {"skipped"}
    assert f"run {claiming} of pipeline_control is stopping" in airflow.log_of(DAG, run_id, "find_pipeline")

    airflow.delete(f"/dags/pipeline_control/dagRuns/{claiming}")
    run_id, state = run(airflow)
    assert state == "success", airflow.failure_details(DAG, run_id)
    assert set(airflow.states(DAG, run_id).values()) == {"success"}
    marker.unlink()
    airflow.patch("/dags/pipeline_control", {"is_paused": False})


def test_pipeline_control_starts_no_second_pipeline(airflow: Airflow, running: LocalPipeline) -> None:
    before = running.pids()
    run_id = airflow.trigger("pipeline_control", backend="local")
    assert airflow.await_run("pipeline_control", run_id) == "failed"
    told = airflow.log_of("pipeline_control", run_id, "claim_pipeline")
    assert "a pipeline that no run has started is running (local)" in told
    assert "`make down` ends it" in told
    assert airflow.states("pipeline_control", run_id)["clean_up"] in {"skipped", "upstream_failed"}
    assert running.pids() == before, "nor does it touch somebody else's"


def test_a_slow_part_is_reported_and_never_restarted(airflow: Airflow, running: LocalPipeline) -> None:
    before = running.pids()
    # Event time is always a second behind at least, since orders may come a second late.
    run_id, state = run(airflow, max_watermark_age_seconds=1)
    assert state == "failed"
    told = airflow.log_of(DAG, run_id, "judge")
    assert "event time is slow since 20" in told
    assert "tried: nothing" in told
    assert running.pids() == before


def test_a_hung_service_is_restarted_and_no_other_one(airflow: Airflow, running: LocalPipeline) -> None:
    """The supervisor starts again what ends; what hangs does not end."""
    before = running.pids()
    os.kill(before["processor-2"], signal.SIGSTOP)
    run_id = airflow.trigger(DAG, **PATIENT)
    eventually(lambda: running.programs()["processor-2"]["state"] == "STOPPING", "the hung processor is restarted")
    os.kill(before["processor-2"], signal.SIGCONT)  # or the supervisor would kill it 25 s later
    assert airflow.await_run(DAG, run_id) == "success", airflow.failure_details(DAG, run_id)
    after = running.pids()
    assert {name for name in before if after[name] != before[name]} == {"processor-2"}
    assert running.programs()["processor-2"]["health"] == "ok"
    told = airflow.log_of(DAG, run_id, "judge")
    assert "NOTIFICATION resolved: every part is well again" in told
    assert "tried: restart 1 of processor-2" in told


def test_a_killed_service_comes_back_and_is_left_alone(airflow: Airflow, running: LocalPipeline) -> None:
    """It is back within seconds, by the supervisor: less than the patience with a broken part."""
    before = running.pids()
    os.kill(before["sink"], signal.SIGKILL)
    run_id, state = run(airflow, unhealthy_seconds=120)
    assert state == "success", airflow.failure_details(DAG, run_id)
    assert "restart" not in json.dumps(airflow.log_of(DAG, run_id, "judge"))
    eventually(lambda: running.programs()["sink"]["health"] == "ok", "the sink is back")


def test_a_service_that_always_dies_is_given_up(airflow: Airflow, running: LocalPipeline) -> None:
    before = running.pids()
    running.catalogue.write_text("no catalogue")
    os.kill(before["processor-1"], signal.SIGKILL)
    run_id, state = run(airflow, max_restarts=2)
    assert state == "failed"
    told = airflow.log_of(DAG, run_id, "judge")
    assert "processor-1 is broken since 20" in told
    assert "given up after its restarts of the last hour: processor-1" in told
    assert "restart 1 of processor-1 failed" in told
    assert "restart 2 of processor-1 failed" in told
    assert "restart 3" not in told
    assert "NOTIFICATION" in told

    # The next run neither tries again nor notifies again.
    run_id, state = run(airflow, max_restarts=2)
    assert state == "failed"
    told = airflow.log_of(DAG, run_id, "judge")
    assert "given up after its restarts of the last hour: processor-1" in told
    assert "tried: nothing" in told
    assert "NOTIFICATION" not in told

    running.restore_catalogue()
    running("restart", "processor-1")
    run_id, state = run(airflow, max_restarts=2)
    assert state == "success", airflow.failure_details(DAG, run_id)
    assert "NOTIFICATION resolved: processor-1 broken: no longer" in airflow.log_of(DAG, run_id, "judge")
    assert {name for name, pid in running.pids().items() if pid != before[name]} >= {"processor-1"}
