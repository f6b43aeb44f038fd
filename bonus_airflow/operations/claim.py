"""Ensures that only one run starts, changes and stops the pipeline."""

import logging

from bonus_airflow.operations.backend import Backend, backend_named, choose_backend, running_backend
from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.run_marker import (
    Phase,
    RunMarker,
    locked_pipeline,
    read_marker,
    remove_marker,
    write_marker,
)

log = logging.getLogger(__name__)


def claim_pipeline(run_id: str, wanted_backend: str) -> str:
    """Claim the pipeline for ``run_id``; returns the backend's name, which is chosen here for the whole run.

    A run that has already claimed it continues, even after a restart of the scheduler or worker.

    Raises:
        OperationError: another pipeline is running, which this run has not started.
    """
    with locked_pipeline():
        marker = read_marker()
        if marker and marker.run_id == run_id:
            log.info("this run has the pipeline already (%s)", marker.backend)
            return marker.backend
        chosen = choose_backend(wanted_backend)
        if running := running_backend():
            raise OperationError(_already_running(running, marker))
        if marker:
            log.info("nothing is left running of run %s, which had the pipeline", marker.run_id)
        write_marker(RunMarker(run_id, chosen.name, Phase.STARTING))
        return chosen.name


def require(run_id: str) -> RunMarker:
    """The marker of ``run_id``, for a task that is about to change or verify the pipeline.

    When single tasks of a run that has ended are cleared, the pipeline may be somebody else's.

    Raises:
        OperationError: the run has not claimed the pipeline, or has released it.
    """
    marker = read_marker()
    if marker and marker.run_id == run_id:
        return marker
    raise OperationError(
        f"run {marker.run_id if marker else 'none'} has the pipeline, not {run_id}: "
        "clear claim_pipeline with its downstream tasks, or trigger a new run"
    )


def set_phase(run_id: str, phase: Phase) -> None:
    """Set the run's phase; raises OperationError as ``require`` does."""
    with locked_pipeline():
        write_marker(RunMarker(run_id, require(run_id).backend, phase))


def release_pipeline(run_id: str) -> None:
    """Stop the rest of the run's pipeline, and release the claim; does nothing if another run has claimed it.

    Waits for a command that a killed task has left behind: it may be starting the pipeline.
    """
    with locked_pipeline():  # not any longer, since `stop_all` takes the lock itself
        marker = read_marker()
    if not marker or marker.run_id != run_id:
        log.info("this run has no pipeline")
        return
    backend = backend_named(marker.backend)
    if backend.is_running():
        backend.stop_all()
    remove_marker()
    log.info("nothing is left running")


def _already_running(backend: Backend, marker: RunMarker | None) -> str:
    stop = {"local": "`make down`", "compose": "`docker compose --profile '*' down`"}[backend.name]
    if marker and marker.backend == backend.name:
        return (
            f"the pipeline of run {marker.run_id} is still running ({backend.name}), and there is never a second one: let that "
            f"run end or clear its task clean_up; {stop} ends the pipeline by hand"
        )
    return f"a pipeline that no run has started is running ({backend.name}), and there is never a second one: {stop} ends it"
