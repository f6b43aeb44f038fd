"""Records which run has started the pipeline, in a file that survives restarts of the scheduler, worker and Airflow.

Three things prevent a second pipeline: the DAG has one active run; a run fails if it finds the marker of another run or a
pipeline without a marker; and all changes of the pipeline hold a lock. The command that makes the change inherits the lock, so
that it is held for as long as the command runs, even if the task is killed.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from bonus_airflow.environment import airflow_home
from bonus_airflow.operations.errors import OperationError


class Phase(StrEnum):
    """The phase of a run. Only in ``RUNNING`` do all parts have to run, and may ``pipeline_health`` restart one."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class RunMarker:
    """Written by ``pipeline_control``."""

    run_id: str
    backend: str
    phase: Phase

    @property
    def is_running(self) -> bool:
        return self.phase is Phase.RUNNING


def read_marker() -> RunMarker | None:
    """The marker; None if there is none.

    Raises:
        OperationError: the file was not written by this program.
    """
    path = _marker_path()
    try:
        values = json.loads(path.read_text())
        return RunMarker(values["run_id"], values["backend"], Phase(values["phase"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OperationError(f"{path} is no marker of a run ({error!r}): remove it if no pipeline runs") from error


def active_marker(is_active: Callable[[str], bool]) -> RunMarker | None:
    """The marker; None if there is none, or if its run has ended without removing it.

    Args:
        is_active: whether the run with this id has not ended.

    Raises:
        OperationError: as ``read_marker``.
    """
    marker = read_marker()
    return marker if marker and is_active(marker.run_id) else None


def write_marker(marker: RunMarker) -> None:
    """Replace the marker atomically."""
    path = _marker_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(marker)))
    draft.replace(path)


def remove_marker() -> None:
    """Delete the marker: no run has a pipeline any more."""
    _marker_path().unlink(missing_ok=True)


@contextlib.contextmanager
def locked_pipeline() -> Iterator[int]:
    """Acquire and hold the lock; yields its file descriptor, which the command inherits."""
    path = airflow_home() / "pipeline.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)  # the lock itself ends with the last process that holds the descriptor


def _marker_path() -> Path:
    return airflow_home() / "pipeline_run.json"
