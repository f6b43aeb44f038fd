"""`pipeline_control` with a real scheduler and triggerer, and a real pipeline in local mode."""

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bonus_airflow.tests.airflow_processes import Airflow, eventually, process_ids_of
from bonus_airflow.tests.local_pipeline import LocalPipeline

DAG = "pipeline_control"
PARAMS = {"backend": "local", "processors": 2, "analytics": 1, "run_seconds": 5, "rate": "200", "faulty_share": 0.05}


@contextlib.contextmanager
def pipelines_counted(pipeline: LocalPipeline) -> Iterator[set[int]]:
    """How many pipelines there were at the same time, looked at all the time."""
    counts: set[int] = set()
    ended = threading.Event()

    def count() -> None:
        while not ended.is_set():
            counts.add(len(sessions_of(pipeline)))
            time.sleep(0.2)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield counts
    finally:
        ended.set()
        thread.join()


def sessions_of(pipeline: LocalPipeline) -> set[int]:
    """Each pipeline has a supervisor, which leads a session; a process that it has just forked looks like it, in the same one."""
    found = set()
    for pid in process_ids_of(f"{pipeline.settings['LOCAL_DIR']}/supervisord.conf"):
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getsid(pid))
    return found


def test_a_run_ends_green_and_exact_and_leaves_nothing_behind(airflow: Airflow, pipeline: LocalPipeline) -> None:
    run_id = airflow.trigger(DAG, **PARAMS)
    airflow.await_task(DAG, run_id, "keep_watching", "deferred", "success")
    assert {name for name in pipeline.programs() if name.startswith("processor")} == {"processor-1", "processor-2"}
    assert airflow.await_run(DAG, run_id) == "success", airflow.failure_details(DAG, run_id)
    assert set(airflow.states(DAG, run_id).values()) == {"success"}
    assert pipeline.status() == {"state": "stopped"}

    # The reconciliation stands in the log, and the file has what the generator has counted by itself.
    verified = airflow.log_of(DAG, run_id, "verify")
    assert "sent = processed + dead letters" in verified
    assert "No difference." in verified
    sent, faulty = orders_sent(pipeline)
    assert 0 < faulty < sent
    lines = [json.loads(line) for line in pipeline.metrics.read_text().splitlines()]
    assert sum(line["order_count"] for line in lines if "order_count" in line) == sent - faulty


def orders_sent(pipeline: LocalPipeline) -> tuple[int, int]:
    """How many orders the generator says that it has sent, and how many of those were faulty."""
    log = Path(pipeline.settings["LOCAL_DIR"], "logs", "generator.log").read_text().splitlines()
    told = next(event for event in map(json.loads, log) if event["event"] == "all orders sent")
    return told["sent"], told["faulty"]


def test_a_scheduler_killed_in_the_middle_and_a_difference_at_the_end(
    airflow: Airflow, pipeline: LocalPipeline
) -> None:
    """The killed scheduler's run goes on, with one pipeline; a wrong line in the file makes it red, clean-up or not."""
    with pipelines_counted(pipeline) as counts:
        run_id = airflow.trigger(DAG, **PARAMS)
        # In the middle of the command that starts the pipeline: its worker is an orphan, and the next scheduler starts the task again.
        eventually(lambda: pipeline.status()["state"] != "stopped", "the pipeline is being started")
        assert airflow.states(DAG, run_id)["start_pipeline"] == "running"
        airflow.kill("scheduler")
        airflow.start("scheduler")
        airflow.await_task(DAG, run_id, "keep_watching", "deferred", "success")
        count_one_order_more(pipeline.metrics)
        assert airflow.await_run(DAG, run_id) == "failed"
    assert max(counts) == 1
    states = airflow.states(DAG, run_id)
    assert states.pop("verify") == "failed", airflow.failure_details(DAG, run_id)
    assert states.pop("stop_pipeline") == "upstream_failed"
    assert set(states.values()) == {"success"}, airflow.failure_details(DAG, run_id)
    assert "line of the file that is no metric of the topic" in airflow.log_of(DAG, run_id, "verify")
    assert pipeline.status() == {"state": "stopped"}

    # Marked as a success while a person's pipeline runs: Airflow clears the failed tasks after it, and no other one.
    pipeline.start()
    before = pipeline.pids()
    airflow.patch(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/verify", {"new_state": "success"})
    airflow.await_task(DAG, run_id, "stop_pipeline", "failed")
    assert f"run none has the pipeline, not {run_id}" in airflow.log_of(DAG, run_id, "stop_pipeline")
    assert pipeline.pids() == before


def count_one_order_more(metrics: Path) -> None:
    """In place: the sink notices when somebody has appended to its file, and writes it again."""
    before = re.search(rb'"order_count":(\d)', metrics.read_bytes())
    assert before
    with metrics.open("r+b") as file:
        file.seek(before.start(1))
        file.write(b"%d" % (int(before[1]) % 9 + 1))


def test_a_parameter_out_of_its_limits_starts_no_run(airflow: Airflow) -> None:
    for wrong in (
        {"run_seconds": 1},
        {"rate": "fast"},
        {"backend": "kubernetes"},
        {"faulty_share": 1.5},
        {"processors": 0},
    ):
        told = airflow.refusal(f"/dags/{DAG}/dagRuns", {"logical_date": None, "conf": PARAMS | wrong})
        assert next(iter(wrong)) in told
