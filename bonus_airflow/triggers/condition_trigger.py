"""Waits in the triggerer until a condition of the pipeline holds, or its time is over."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from bonus_airflow.operations.backend import backend_named
from bonus_airflow.operations.conditions import condition_named
from bonus_airflow.operations.errors import OperationError


class ConditionTrigger(BaseTrigger):
    """Fires once, with a ``ConditionEvent`` as a mapping.

    Nothing is kept in memory that a restarted triggerer would miss: it looks again, and ``deadline_s`` (epoch seconds) stays.

    Args:
        backend: ``local`` or ``compose``.
        condition: a name of CONDITIONS.
        options: that condition's own.
        deadline_s: when to give up.
        poll_s: how long to wait between two looks.
    """

    def __init__(
        self, *, backend: str, condition: str, options: Mapping[str, Any], deadline_s: float, poll_s: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # typed in parts only
        self.backend = backend
        self.condition = condition
        self.options = dict(options)
        self.deadline_s = deadline_s
        self.poll_s = poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("backend", "condition", "options", "deadline_s", "poll_s")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        condition = condition_named(self.condition, backend_named(self.backend), self.options)
        told = ""
        while True:
            missing = await _look(condition.look)
            if not missing:
                yield TriggerEvent({"missing": [], "result": condition.result()})
                return
            if (text := "; ".join(missing)) != told:
                self.log.info("waiting for %s", text)
                told = text
            if time.time() > self.deadline_s:
                yield TriggerEvent({"missing": missing, "result": None})
                return
            await asyncio.sleep(self.poll_s)


async def _look(look: Any) -> list[str]:
    """A look runs commands and waits for HTTP: in a thread, since all triggers share one event loop."""
    try:
        missing: list[str] = await asyncio.to_thread(look)
    except OperationError as error:
        return [str(error)]
    return missing
