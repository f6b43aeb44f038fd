"""Conditions that a task can wait for: each is checked repeatedly until nothing is missing.

A trigger creates them by name from JSON values, so that a restarted triggerer can create the same one again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bonus_airflow.operations.backend import Backend
from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.health import HealthLook


class Condition(Protocol):
    """Each check returns what is still missing, one entry for each part; empty once the condition is true."""

    def look(self) -> list[str]:
        """Check once; blocks while commands and HTTP requests run. After an OperationError it is checked again."""

    def result(self) -> Any:
        """The result of the waiting task, as JSON values, once nothing is missing."""


class Healthy:
    """Every part runs and is healthy."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def look(self) -> list[str]:
        parts = self._backend.parts()
        if not parts:
            return ["any part of the pipeline"]
        return [f"{part.name} ({part.problem or 'stopped'})" for part in parts if not part.is_healthy]

    def result(self) -> str:
        return "every part is healthy"


class OrdersFlow:
    """Since the first check, orders have passed every stage, and a window was closed and written."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._first: Mapping[str, Any] | None = None
        self._accepted = False
        self._told = ""

    def look(self) -> list[str]:
        now = self._backend.snapshot()
        if now["waiting_for"] or not now["stages"]:
            return [f"the live page's look at Kafka ({now['waiting_for'] or 'the first one'})"]
        if self._first is None:
            self._first = now
        new_orders = now["orders"]["written"] - self._first["orders"]["written"]
        new_metrics = now["metrics"]["count"] - self._first["metrics"]["count"]
        self._accepted |= bool(now["accepted"]["per_s"])
        left = []
        if new_orders <= 0:
            left.append("generator: new orders in orders")
        if not self._accepted:
            left.append("processor: orders accepted")
        if new_metrics <= 0:
            left.append("analytics: a window closed")
        elif now["stages"]["sink"]["lag"]:
            left.append("sink: metrics written")
        self._told = f"{new_orders} orders came, {new_metrics} metrics were made and written"
        return left

    def result(self) -> str:
        return self._told


class TimeIsOver:
    """It is ``until_s`` (epoch seconds) or later; meanwhile the pipeline's state goes to the log each time it changes."""

    def __init__(self, backend: Backend, *, until_s: float, now_s: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._until_s = until_s
        self._now_s = now_s
        self._seen: set[str] = set()

    def look(self) -> list[str]:
        unwell = [f"{part.name} ({part.problem or 'stopped'})" for part in self._backend.parts() if not part.is_healthy]
        self._seen.update(unwell)
        if self._now_s() >= self._until_s:
            return unwell  # it has to be healthy when it is stopped
        return [f"the end of the run time, {time.strftime('%H:%M:%S', time.gmtime(self._until_s))} UTC", *unwell]

    def result(self) -> str:
        return f"meanwhile unwell: {', '.join(sorted(self._seen)) or 'nothing'}"


class Drained:
    """Every order is in a closed window, and every metric is written."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def look(self) -> list[str]:
        return self._backend.left_to_drain()

    def result(self) -> str:
        return "every order is in a closed window, every metric is written"


CONDITIONS: Mapping[str, Callable[..., Condition]] = {
    "healthy": Healthy,
    "orders_flow": OrdersFlow,
    "time_is_over": TimeIsOver,
    "drained": Drained,
    "health_look": HealthLook,
}


def condition_named(name: str, backend: Backend, options: Mapping[str, Any]) -> Condition:
    """One of CONDITIONS, with its own ``options``."""
    try:
        return CONDITIONS[name](backend, **options)
    except KeyError:
        raise OperationError(f"condition {name!r}: {', '.join(CONDITIONS)} are allowed") from None
