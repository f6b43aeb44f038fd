"""The two ways in which a pipeline runs on this machine, behind one interface."""

from collections.abc import Mapping
from typing import Any, Protocol

from bonus_airflow.operations.compose import ComposeMode
from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.local_mode import LocalMode
from bonus_airflow.operations.parts import Part, StartPlan

COMPOSE, LOCAL, AUTO = "compose", "local", "auto"


class Backend(Protocol):
    """What DAGs do to a pipeline. Each method runs commands of the project; all raise OperationError."""

    name: str

    def is_present(self) -> bool:
        """Whether this machine can run a pipeline in this way."""

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


BACKENDS: Mapping[str, type[LocalMode] | type[ComposeMode]] = {LOCAL: LocalMode, COMPOSE: ComposeMode}


def backend_named(name: str) -> Backend:
    """The backend of this name, ``local`` or ``compose``."""
    try:
        return BACKENDS[name]()
    except KeyError:
        raise OperationError(f"backend {name!r}: {', '.join(BACKENDS)} are allowed") from None


def choose_backend(wanted: str) -> Backend:
    """``wanted``, or for ``auto`` Docker Compose where an engine answers, and local mode elsewhere."""
    if wanted != AUTO:
        return backend_named(wanted)
    compose = ComposeMode()
    return compose if compose.is_present() else LocalMode()


def present_backends() -> list[Backend]:
    """Local mode, and Docker Compose where an engine answers."""
    return [backend for backend in map(backend_named, BACKENDS) if backend.is_present()]
