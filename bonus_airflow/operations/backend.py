"""A common interface for the ways to run a pipeline."""

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

from bonus_airflow.operations.compose import ComposeMode
from bonus_airflow.operations.errors import CommandError, OperationError
from bonus_airflow.operations.local_mode import LocalMode
from bonus_airflow.operations.parts import Part, StartPlan
from bonus_airflow.operations.watched import LIVE_PAGE_SETTING, NO_CONTROL, WatchedPipeline

log = logging.getLogger(__name__)

COMPOSE, LOCAL, AUTO = "compose", "local", "auto"


class Backend(Protocol):
    """The operations of DAGs on a pipeline. Each method runs commands of the project; all but ``problem`` raise OperationError."""

    name: str
    can_control: bool
    """Whether a pipeline can be started, changed and stopped; otherwise all that would do so raises OperationError."""

    def problem(self) -> str:
        """Why no pipeline can be run in this way; empty if one can."""

    def is_running(self) -> bool:
        """Whether any process or container of a pipeline is there."""

    def start(self, plan: StartPlan) -> None:
        """Start everything; returns once everything is healthy, or at least started."""

    def parts(self) -> list[Part]:
        """All processes or containers, with their health."""

    def restart(self, part: str) -> None:
        """Restart one part."""

    def stop_generator(self) -> None:
        """Stop the generator."""

    def left_to_drain(self) -> list[str]:
        """What is left to drain; empty if the pipeline is drained."""

    def written_outputs(self) -> list[str]:
        """The sink's outputs, of ``file`` and ``database``. The offsets of another one stay behind for ever."""

    def stop_services(self) -> None:
        """Stop the services, and keep Kafka running for the verification."""

    def verify(self) -> None:
        """Verify the output, and that no window is open; raises CommandError if anything differs."""

    def stop_all(self) -> None:
        """Stop everything; data is kept."""

    def snapshot(self) -> Mapping[str, Any]:
        """The live page's snapshot (live/snapshot.py)."""


BACKENDS: Mapping[str, type[LocalMode] | type[ComposeMode] | type[WatchedPipeline]] = {
    LOCAL: LocalMode,
    COMPOSE: ComposeMode,
    WatchedPipeline.name: WatchedPipeline,
}


def backend_named(name: str) -> Backend:
    """One of BACKENDS, by its name."""
    try:
        return BACKENDS[name]()
    except KeyError:
        raise OperationError(f"backend {name!r}: {', '.join(BACKENDS)} are allowed") from None


def choose_backend(wanted: str) -> Backend:
    """The backend to start a pipeline with; the choice is logged.

    ``auto`` is Docker Compose where it can be used, and local mode elsewhere.

    Raises:
        OperationError: the wanted backend cannot be used, or this Airflow does not start pipelines.
    """
    if LIVE_PAGE_SETTING in os.environ:
        raise OperationError(NO_CONTROL)
    backend = backend_named(COMPOSE if wanted == AUTO else wanted)
    problem = backend.problem()
    if problem and wanted == AUTO:
        log.info("backend auto: local mode, since Docker Compose cannot be used: %s", problem)
        return LocalMode()
    if problem:
        raise OperationError(f"backend {wanted} cannot be used: {problem}")
    log.info("backend %s: %s", wanted, backend.name)
    return backend


def running_backend() -> Backend | None:
    """The backend of the running pipeline; None if none is running.

    Raises:
        CommandError: it cannot be determined.
    """
    names = (WatchedPipeline.name,) if LIVE_PAGE_SETTING in os.environ else (LOCAL, COMPOSE)
    for backend in map(backend_named, names):
        try:
            if backend.is_running():
                return backend
        except CommandError:
            if not backend.problem():  # otherwise nothing can be running there
                raise
    return None
