"""Notifications of the DAGs. Users replace ``write_to_log`` by their own function: README.md, "Notifier"."""

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bonus_airflow.operations.errors import OperationError

log = logging.getLogger(__name__)

_SETTING = "PIPELINE_NOTIFIER"
_DEFAULT = "bonus_airflow.notifier.write_to_log"


@dataclass(frozen=True)
class Notification:
    """A notification for a person.

    ``since`` is a moment in ISO 8601; ``tried`` says what has been done about it, one step an entry.
    """

    dag_id: str
    run_id: str
    what: str
    since: str = ""
    tried: tuple[str, ...] = ()
    resolved: bool = False

    def text(self) -> str:
        """The notification as one message."""
        parts = [f"{'resolved: ' if self.resolved else ''}{self.what}"]
        if self.since:
            parts.append(f"since {self.since}")
        if self.tried:
            parts.append(f"tried: {'; '.join(self.tried)}")
        return ", ".join(parts) + f" [{self.dag_id}, {self.run_id}]"


Notifier = Callable[[Notification], None]


def write_to_log(notification: Notification) -> None:
    """The default notifier: writes the message into the task's log."""
    log.warning("NOTIFICATION %s", notification.text())


def deliver(notification: Notification) -> None:
    """Call PIPELINE_NOTIFIER, the dotted path of a ``Notifier``; passes on its exceptions.

    For a task that does nothing else, so that Airflow retries it.
    """
    load_notifier(os.environ.get(_SETTING) or _DEFAULT)(notification)


def notify(notification: Notification) -> None:
    """``deliver``, but exceptions of the notifier are only logged, so that they do not replace the task's own error."""
    try:
        deliver(notification)
    except Exception:
        log.exception("%s failed; the notification was: %s", _SETTING, notification.text())


def notify_failure(context: Mapping[str, Any]) -> None:
    """For ``on_failure_callback`` of a task: notifies of the failed task and its error."""
    task = context["task_instance"]
    what = f"task {task.task_id} failed: {context.get('exception')}"
    notify(Notification(dag_id=task.dag_id, run_id=task.run_id, what=what))


def load_notifier(path: str) -> Notifier:
    """The function at a dotted path.

    Raises:
        OperationError: there is no such function.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OperationError(f"{_SETTING}={path!r}: the dotted path of a function is allowed; {error}") from error
    if not callable(found):
        raise OperationError(f"{_SETTING}={path!r}: the dotted path of a function is allowed, this is none")
    notifier: Notifier = found
    return notifier
