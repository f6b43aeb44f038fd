"""Runs the project's commands, with the services' environment."""
# ruff: noqa: S603 - this file starts programs

import logging
import os
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.errors import CommandError

log = logging.getLogger(__name__)

SERVICES_PYTHON = ROOT / ".venv" / "bin" / "python"
"""The interpreter of the services' environment, which the make targets set up."""

PIPELINE = ROOT / ".venv" / "bin" / "pipeline"
"""The project's command (docs/cli.md), in the same environment."""

_LAST_LINES = 20
_AIRFLOWS_OWN = ("AIRFLOW", "_AIRFLOW", "PYTHON", "VIRTUAL_ENV", "OTEL_")


def project_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without Airflow's variables, and with ``settings`` of the services."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_AIRFLOWS_OWN)}
    return kept | dict(settings or {})


def run_command(
    command: Sequence[str | Path], *, settings: Mapping[str, str] | None = None, inherited_fds: Sequence[int] = ()
) -> None:
    """Run ``command`` in the checkout; its output is written to the task's log line by line.

    Args:
        command: the program and its arguments. Secrets go into files or ``settings``: arguments are logged.
        settings: additional environment variables.
        inherited_fds: file descriptors that the command inherits, for example of a lock.

    Raises:
        CommandError: its exit code is not 0; the message has its last lines.
    """
    arguments = [str(part) for part in command]
    log.info("$ %s", " ".join(arguments))
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=project_environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=inherited_fds,
    ) as child:
        assert child.stdout
        for line in child.stdout:
            last.append(line.rstrip())
            log.info("%s", line.rstrip())
    if child.returncode:
        raise CommandError(arguments, child.returncode, "\n".join(last))


def output_of(command: Sequence[str | Path], *, timeout_s: float = 60.0) -> str:
    """The output of ``command``, run in the checkout; it is not logged.

    Raises:
        CommandError: its exit code is not 0, or it did not end within ``timeout_s``.
    """
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env=project_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(arguments, None, f"not done within {timeout_s:.0f} s") from error
    except OSError as error:
        raise CommandError(arguments, None, str(error)) from error
    if done.returncode:
        raise CommandError(arguments, done.returncode, (done.stdout + done.stderr).strip(), stdout=done.stdout)
    return done.stdout
