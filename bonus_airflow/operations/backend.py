"""The ways in which a pipeline runs, behind one interface."""

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
    """What DAGs do to a pipeline. Each method runs commands of the project; all but ``problem`` raise OperationError."""

    name: str
    can_control: bool
    """Whether a pipeline can be started, changed and stopped; otherwise all that would do so raises OperationError."""

    def problem(self) -> str:
        """Why no pipeline can run here in this way; empty when one can."""

    def is_running(self) -> bool:
        """Whether any process or container of a pipeline is there."""

    def start(self, plan: StartPlan) -> None:
        """Start all; returns once everything was healthy, or was at least started."""

    def parts(self) -> list[Part]:
        """Every process or container, and how it is."""

    def restart(self, part: str) -> None:
        """Stop one part, and start it again."""

    def stop_generator(self) -> None:
        """No order comes any more."""

    def left_to_drain(self) -> list[str]:
        """What keeps the pipeline from being drained; nothing when it is."""

    def stop_services(self) -> None:
        """Stop the services and leave Kafka running, so that what they have done can be verified."""

    def verify(self) -> None:
        """Verify all that was written, and that no window is open; raises CommandError when something differs."""

    def stop_all(self) -> None:
        """Nothing is left running; data stays."""

    def snapshot(self) -> Mapping[str, Any]:
        """What the live page knows of the orders' flow: live/snapshot.py says what that is."""


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
        OperationError: what is wanted cannot be used here, or this Airflow starts no pipeline at all.
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
    """The backend of the pipeline that is running; None where none is.

    Raises:
        CommandError: that cannot be said.
    """
    names = (WatchedPipeline.name,) if LIVE_PAGE_SETTING in os.environ else (LOCAL, COMPOSE)
    for backend in map(backend_named, names):
        try:
            if backend.is_running():
                return backend
        except CommandError:
            if not backend.problem():  # or nothing can be running there
                raise
    return None
