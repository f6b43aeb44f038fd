"""Runs services and tools as processes that are forked after their imports, which take most of the start-up time."""

import importlib
import itertools
import multiprocessing
import os
import sys
from pathlib import Path
from typing import NamedTuple

MODULES = {
    "generator": "services.generator.event_generator",
    "processor": "services.processor.order_processor",
    "analytics": "services.analytics.analytics_engine",
    "sink": "services.sink.data_sink",
    "live": "live.__main__",
    "acls": "acls.__main__",
}
COMMANDS = {
    name: f"cli.commands.{name.replace('-', '_')}"
    for name in ("status", "watch", "verify", "metrics", "report", "dead-letters", "recompute", "doctor")
}
"""Commands of `pipeline`, and the modules that they import."""


class Ended(NamedTuple):
    """The exit code and the output of a program."""

    code: int | None
    output: str


class Programs:
    """Runs programs to their end."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._numbers = itertools.count(1)
        self._context.set_forkserver_preload([__name__, *MODULES.values(), *COMMANDS.values()])

    def run(self, name: str, directory: Path, env: dict[str, str], *arguments: str) -> Ended:
        """Run one of ``MODULES`` or ``COMMANDS``; its output is also written into ``directory``."""
        log = directory / f"{name}-{next(self._numbers)}.out"
        module, words = ("cli.app", (name, *arguments)) if name in COMMANDS else (MODULES[name], arguments)
        process = self._context.Process(target=_run, args=(module, log, env, words))
        process.start()
        try:
            process.join()
        finally:
            process.kill()
            process.join()
        return Ended(process.exitcode, log.read_text())


def _run(module: str, log: Path, env: dict[str, str], arguments: tuple[str, ...]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.environ.update(env)
    sys.argv = [module, *arguments]
    outcome = importlib.import_module(module).main()
    sys.exit(outcome)
