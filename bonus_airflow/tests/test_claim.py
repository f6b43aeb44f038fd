"""Tests of the claim by which only one run has the pipeline."""

import importlib
import inspect
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bonus_airflow.environment import ROOT
from bonus_airflow.operations import claim
from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.run_marker import Phase, RunMarker, locked_pipeline, read_marker, write_marker
from bonus_airflow.tests.fakes import FakeBackend


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    backend = FakeBackend()
    backend.running = False
    monkeypatch.setattr(claim, "running_backend", lambda: backend if backend.running else None)
    monkeypatch.setattr(claim, "choose_backend", lambda wanted: backend)
    monkeypatch.setattr(claim, "backend_named", lambda name: backend)
    return backend


def test_a_run_takes_the_pipeline_and_goes_on_with_it(backend: FakeBackend) -> None:
    assert claim.claim_pipeline("one", "auto") == "local"
    backend.running = True
    assert claim.claim_pipeline("one", "auto") == "local"
    claim.set_phase("one", Phase.RUNNING)
    assert read_marker() == RunMarker("one", "local", Phase.RUNNING)


def test_another_runs_pipeline_is_not_taken(backend: FakeBackend) -> None:
    claim.claim_pipeline("one", "auto")
    backend.running = True
    with pytest.raises(OperationError, match=r"the pipeline of run one is still running \(local\)"):
        claim.claim_pipeline("two", "auto")
    with pytest.raises(OperationError, match="run one has the pipeline, not two"):
        claim.set_phase("two", Phase.STOPPING)
    claim.release_pipeline("two")
    assert backend.running


def test_a_task_that_is_cleared_without_the_claim_leaves_the_pipeline_alone(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow clears failed tasks only, so `claim_pipeline` does not run again; the pipeline may be a person's by then."""
    module = importlib.import_module("bonus_airflow.dags.pipeline_control")
    monkeypatch.setattr(module, "backend_named", lambda name: pytest.fail("the task has acted on the pipeline"))
    values: dict[str, Any] = {"backend": "local", "run_id": "one", "params": {}}
    claim.claim_pipeline("one", "auto")
    claim.release_pipeline("one")
    acting = {
        task.task_id: task.python_callable
        for task in module.pipeline_control().tasks
        if hasattr(task, "python_callable") and task.task_id not in {"claim_pipeline", "clean_up"}
    }
    assert acting.keys() >= {"start_pipeline", "stop_services", "verify", "stop_pipeline"}
    for function in acting.values():
        names = inspect.signature(function).parameters
        with pytest.raises(OperationError, match=r"run none has the pipeline, not one: .*clear claim_pipeline"):
            function(**{name: values[name] for name in names})


def test_a_persons_pipeline_is_not_taken(backend: FakeBackend) -> None:
    backend.running = True
    with pytest.raises(OperationError, match="a pipeline that no run has started is running"):
        claim.claim_pipeline("one", "auto")
    assert read_marker() is None


def test_a_marker_of_a_stopped_pipeline_blocks_no_other_run(backend: FakeBackend) -> None:
    write_marker(RunMarker("killed", "local", Phase.RUNNING))
    assert claim.claim_pipeline("two", "auto") == "local"


def test_a_release_stops_what_is_left_and_may_be_repeated(backend: FakeBackend) -> None:
    claim.claim_pipeline("one", "auto")
    backend.running = True
    claim.release_pipeline("one")
    claim.release_pipeline("one")
    assert backend.stopped == 1
    assert read_marker() is None


def orphaned_command(folder: Path) -> None:
    """Start a task that runs a command with the lock, and kill it; the command goes on until ``go``, and then makes ``ended``."""
    task = f"""
from bonus_airflow.operations.commands import run_command
from bonus_airflow.operations.run_marker import locked_pipeline
with locked_pipeline() as lock:
    waits = "until [ -e {folder}/go ]; do sleep 0.2; done"
    run_command(["sh", "-c", f"touch {folder}/began; {{waits}}; touch {folder}/ended"], inherited_fds=[lock])
"""
    process = subprocess.Popen([sys.executable, "-c", task], cwd=ROOT)
    while not (folder / "began").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()


def test_the_lock_lasts_as_long_as_the_command_that_has_inherited_it(backend: FakeBackend, tmp_path: Path) -> None:
    """The task that has called it is killed; its command goes on, and nothing else changes the pipeline meanwhile."""
    orphaned_command(tmp_path)
    assert not (tmp_path / "ended").exists()
    (tmp_path / "go").touch()
    with locked_pipeline():
        assert (tmp_path / "ended").exists()


def test_a_release_waits_for_an_orphaned_start(
    backend: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what that starts would be left running, without a marker."""
    claim.claim_pipeline("one", "auto")
    orphaned_command(tmp_path)
    monkeypatch.setattr(backend, "is_running", (tmp_path / "ended").exists)

    def lock_asked_for() -> AbstractContextManager[int]:
        (tmp_path / "go").touch()
        return locked_pipeline()

    monkeypatch.setattr(claim, "locked_pipeline", lock_asked_for)
    try:
        claim.release_pipeline("one")
    finally:
        (tmp_path / "go").touch()
    assert backend.stopped == 1
    assert read_marker() is None
