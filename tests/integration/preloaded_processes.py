"""Runs services as forks of a process that has already imported them.

Importing its modules is most of the CPU time of a service that runs for a few seconds. multiprocessing's fork server
imports them once in each process of the test run. Such a service is still a process of its own, with its own settings,
standard output and exit code.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

_PRELOADED = [
    "services.generator.event_generator",
    "services.processor.order_processor",
    "services.analytics.analytics_engine",
    "services.sink.data_sink",
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


class PreloadedProcess:
    """A process that runs a Python file as its main program, with the part of ``subprocess.Popen`` that tests need.

    Args:
        arguments: the file and its command-line arguments.
        env: the complete environment.
        log: an existing file, to which standard output and standard error are appended.
    """

    def __init__(self, arguments: list[str], env: Mapping[str, str], log: Path) -> None:
        self._process = _context.Process(target=_run, args=(arguments, dict(env), log))
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


def _run(arguments: list[str], env: dict[str, str], log: Path) -> None:
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(env)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
