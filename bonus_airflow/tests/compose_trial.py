"""`pipeline_control` and `pipeline_health` with a real scheduler and triggerer, and a pipeline in containers.

It takes four minutes of two cores, so `make airflow-test` leaves it out: ``make airflow-test TESTS=bonus_airflow/tests/compose_trial.py``.
"""

import json
from collections.abc import Iterator

import pytest

from bonus_airflow.tests.airflow_processes import Airflow
from bonus_airflow.tests.compose_pipeline import ComposePipeline, require_engine
from bonus_airflow.tests.local_pipeline import LocalPipeline

CONTROL, HEALTH = "pipeline_control", "pipeline_health"
PARAMS = {"backend": "auto", "processors": 2, "analytics": 1, "run_seconds": 10, "rate": "200", "faulty_share": 0.05}
PATIENT = {"unhealthy_seconds": 3, "slow_seconds": 3, "max_dead_letter_share": 1, "max_lag_seconds": 600}


@pytest.fixture
def compose(compose_pipeline: ComposePipeline, pipeline: LocalPipeline) -> Iterator[ComposePipeline]:
    """Nothing runs, neither here nor in local mode."""
    require_engine()
    yield compose_pipeline
    compose_pipeline.remove()


def test_a_run_in_containers_ends_exact_and_a_killed_replica_comes_back(
    airflow: Airflow, compose: ComposePipeline
) -> None:
    run_id = airflow.trigger(CONTROL, **PARAMS)
    airflow.await_task(CONTROL, run_id, "start_pipeline", "success")
    airflow.await_task(CONTROL, run_id, "wait_until_healthy", "success")
    before = compose.started_at()
    airflow.await_task(CONTROL, run_id, "mark_running", "success")
    # The run ends its watch once every container is healthy again, which is what `pipeline_health` is for.
    killed = compose.kill("processor", 2)
    generator = compose.follow_log("generator", 1)
    health_id = airflow.trigger(HEALTH, **PATIENT)
    assert airflow.await_run(HEALTH, health_id) == "success", airflow.failure_details(HEALTH, health_id)
    assert f"tried: restart 1 of {killed}" in airflow.log_of(HEALTH, health_id, "judge")

    airflow.await_task(CONTROL, run_id, "stop_generator", "success")
    after = compose.started_at()
    assert {name for name in before if after[name] != before[name]} == {killed}
    assert airflow.await_run(CONTROL, run_id) == "success", airflow.failure_details(CONTROL, run_id)
    assert set(airflow.states(CONTROL, run_id).values()) == {"success"}
    assert "backend auto: compose" in airflow.log_of(CONTROL, run_id, "claim_pipeline")
    assert "docker compose" in airflow.log_of(CONTROL, run_id, "stop_pipeline")
    assert compose.started_at() == {}

    # The file has what the generator has counted by itself.
    assert "No difference." in airflow.log_of(CONTROL, run_id, "verify")
    told, _ = generator.communicate()
    (sent,) = (event for event in map(json.loads, told.splitlines()) if event["event"] == "all orders sent")
    assert 0 < sent["faulty"] < sent["sent"]
    lines = [json.loads(line) for line in (compose.output / "metrics.json").read_text().splitlines()]
    assert sum(line["order_count"] for line in lines if "order_count" in line) == sent["sent"] - sent["faulty"]
