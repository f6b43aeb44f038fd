"""An operator that waits for a condition of the pipeline without holding a worker slot."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from bonus_airflow.triggers.condition_trigger import ConditionTrigger

_POLL_S = 2.0
_LONGEST_POLL_S = 30.0


DEFERRING: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=2)}
"""For all that defers. A trigger that fires before a busy scheduler has taken in that the task has deferred makes the scheduler
(3.3.2) take that old news for the resumed task's end, and fail it: "reported ... finished with state success, but the task
instance's state attribute is queued". Another try is all that it takes, so what waits has to be repeatable."""


class AwaitCondition(BaseOperator):
    """Defers until the condition is true, and returns its result; fails after ``timeout_s``, naming what was missing.

    Args:
        backend: ``local`` or ``compose``; a template.
        condition: a name of CONDITIONS.
        timeout_s: in seconds; a template.
    """

    template_fields: Sequence[str] = ("backend", "options", "timeout_s")

    def __init__(
        self,
        *,
        backend: Any,
        condition: str,
        timeout_s: float | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**(DEFERRING | kwargs))
        self.backend = backend
        self.condition = condition
        self.timeout_s = timeout_s
        self.options: dict[str, Any] = {}
        self.poll_s = _POLL_S

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow passes it
        timeout_s = float(self.timeout_s)
        self.defer(
            trigger=ConditionTrigger(
                backend=self.backend,
                condition=self.condition,
                options=self.options,
                deadline_s=time.time() + timeout_s,
                poll_s=self.poll_s,
            ),
            method_name="resume",
            # The task resumes in a new process, without what `execute` has set.
            kwargs={"timeout_s": timeout_s},
        )

    def resume(self, context: Context, event: Mapping[str, Any], timeout_s: float) -> Any:  # noqa: ARG002 - Airflow passes it
        """The trigger has fired."""
        if event["missing"]:
            raise AirflowFailException(f"not within {timeout_s:.0f} s: {'; '.join(event['missing'])}")
        self.log.info("%s", event["result"])
        return event["result"]


class WatchUntil(AwaitCondition):
    """Waits for the end of the run time, which begins with each try of the task."""

    template_fields: Sequence[str] = ("backend", "options", "timeout_s", "run_seconds")

    def __init__(self, *, run_seconds: str, grace_s: float, **kwargs: Any) -> None:
        super().__init__(condition="time_is_over", timeout_s=0.0, **kwargs)
        self.run_seconds = run_seconds
        self.grace_s = grace_s

    def execute(self, context: Context) -> None:
        self.options = {"until_s": time.time() + float(self.run_seconds)}
        self.timeout_s = float(self.run_seconds) + self.grace_s
        # A check takes a quarter of a second of CPU time, too much for every other second of a day.
        self.poll_s = max(_POLL_S, min(_LONGEST_POLL_S, float(self.run_seconds) / 20))
        super().execute(context)
