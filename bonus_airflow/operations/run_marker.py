"""Which run has started the pipeline: a file that outlives the scheduler, the worker, and Airflow itself.

A second pipeline is ruled out by three things: the DAG has one active run; a run finds another one's marker, or a pipeline that
nobody's marker tells of, and says so; and whatever changes the pipeline holds a lock meanwhile. The lock is inherited by the
command that does the work, so that it lasts as long as that, also when the task that has called it was killed.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from bonus_airflow.environment import airflow_home
from bonus_airflow.operations.errors import OperationError


class Phase(StrEnum):
    """How far a run is. Only in ``RUNNING`` has every part to be there, and may ``pipeline_health`` restart one."""

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
    """The marker, None where there is none.

    Raises:
        OperationError: it is none that this program has written.
    """
    path = _marker_path()
    try:
        values = json.loads(path.read_text())
        return RunMarker(values["run_id"], values["backend"], Phase(values["phase"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OperationError(f"{path} is no marker of a run ({error!r}): remove it if no pipeline runs") from error


def write_marker(marker: RunMarker) -> None:
    """Replace it as a whole: a crash leaves the old one or the new one."""
    path = _marker_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(marker)))
    draft.replace(path)


def remove_marker() -> None:
    """No run has a pipeline any more."""
    _marker_path().unlink(missing_ok=True)


@contextlib.contextmanager
def locked_pipeline() -> Iterator[int]:
    """Wait for the lock and hold it; gives its file descriptor, for the command to inherit."""
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
