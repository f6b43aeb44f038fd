"""Tests of the claim by which only one run has the pipeline."""

import subprocess
import sys
import time
from pathlib import Path

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


def test_the_lock_lasts_as_long_as_the_command_that_has_inherited_it(backend: FakeBackend, tmp_path: Path) -> None:
    """The task that has called it is killed; its command goes on, and nothing else changes the pipeline meanwhile."""
    ended = tmp_path / "ended"
    task = f"""
from bonus_airflow.operations.commands import run_command
from bonus_airflow.operations.run_marker import locked_pipeline
with locked_pipeline() as lock:
    waits = "until [ -e {tmp_path}/go ]; do sleep 0.2; done"
    run_command(["sh", "-c", f"touch {tmp_path}/began; {{waits}}; touch {ended}"], inherited_fds=[lock])
"""
    process = subprocess.Popen([sys.executable, "-c", task], cwd=ROOT)
    while not (tmp_path / "began").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not ended.exists()
    (tmp_path / "go").touch()
    with locked_pipeline():
        assert ended.exists()
