"""Whom a DAG tells what is wrong. Users replace ``write_to_log`` by a function of their own: README.md, "Notifier"."""

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
    """What a person has to know, in text.

    ``since`` is a moment in ISO 8601; ``tried`` says what has been done about it, one step an entry.
    """

    dag_id: str
    run_id: str
    what: str
    since: str = ""
    tried: tuple[str, ...] = ()
    resolved: bool = False

    def text(self) -> str:
        """All of it in one message."""
        parts = [f"{'resolved: ' if self.resolved else ''}{self.what}"]
        if self.since:
            parts.append(f"since {self.since}")
        if self.tried:
            parts.append(f"tried: {'; '.join(self.tried)}")
        return ", ".join(parts) + f" [{self.dag_id}, {self.run_id}]"


Notifier = Callable[[Notification], None]


def write_to_log(notification: Notification) -> None:
    """The default: the message stands in the task's log."""
    log.warning("NOTIFICATION %s", notification.text())


def deliver(notification: Notification) -> None:
    """Tell PIPELINE_NOTIFIER, the dotted path of a ``Notifier``; raises what that one raises.

    For a task that has nothing else to do: it is tried again.
    """
    load_notifier(os.environ.get(_SETTING) or _DEFAULT)(notification)


def notify(notification: Notification) -> None:
    """``deliver``, but a notifier that raises is logged, and nothing else: what it was to tell must still be the task's error."""
    try:
        deliver(notification)
    except Exception:
        log.exception("%s failed; the notification was: %s", _SETTING, notification.text())


def notify_failure(context: Mapping[str, Any]) -> None:
    """For ``on_failure_callback`` of a task: tells which task failed, and with what."""
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
