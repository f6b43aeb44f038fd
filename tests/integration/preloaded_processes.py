"""Runs services and commands as forks of a process that has already imported them.

Importing its modules is most of the CPU time of a service that runs for a few seconds, and nearly all of a command's. multiprocessing's fork server
imports them once in each process of the test run. Such a service or command is still a process of its own, with its own settings,
standard output and exit code.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_PRELOADED = [
    "services.generator.event_generator",
    "services.processor.order_processor",
    "services.analytics.analytics_engine",
    "services.sink.data_sink",
    "cli.app",
    *(
        f"cli.commands.{name}"
        for name in (
            "complete_transactions",
            "dead_letters",
            "doctor",
            "metrics",
            "report",
            "status",
            "verify",
            "watch",
        )
    ),
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


class PreloadedProcess:
    """A process that runs a Python file as its main program, with the part of ``subprocess.Popen`` that tests need.

    Args:
        arguments: the file and its command-line arguments.
        env: the complete environment.
        log: an existing file, to which standard output and standard error are appended.
        errors: another existing file for standard error.
        main: replaces the file; a function that can be pickled.
    """

    def __init__(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        log: Path,
        errors: Path | None = None,
        main: Callable[[], None] | None = None,
    ) -> None:
        self._process = _context.Process(target=_run, args=(arguments, dict(env), log, errors or log, main))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> None:
        self._process.join()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _run(arguments: list[str], env: dict[str, str], log: Path, errors: Path, main: Callable[[], None] | None) -> None:
    os.setsid()
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), sys.stdout.fileno())
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(env)
    sys.argv = arguments
    if main:
        main()
    else:
        runpy.run_path(arguments[0], run_name="__main__")
