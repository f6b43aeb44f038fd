"""Runs commands of `pipeline` as forks of a process that has already imported them, on the test's pipeline."""

import importlib
import itertools
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.integration.pipeline import Pipeline
from tests.integration.preloaded_processes import PreloadedProcess
from tests.integration.services import eventually

_numbers = itertools.count(1)


class PreloadedCommand:
    """A started command.

    Args:
        directory: the folder for its output.
        env: added to the test run's own environment.
        constants: replaced before the command runs, by module and name.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        constants: Mapping[tuple[str, str], object] | None = None,
    ) -> None:
        path = directory / f"{arguments[0]}-{next(_numbers)}"
        self._out, self._err = path.with_suffix(".out"), path.with_suffix(".err")
        for file in (self._out, self._err):
            file.touch()
        main = partial(_main, dict(constants or {}))
        self._process = PreloadedProcess(
            ["pipeline", *arguments], {**os.environ, **(env or {})}, self._out, self._err, main
        )

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def kill(self) -> None:
        self._process.kill()

    async def communicate(self) -> tuple[int, str, str]:
        """Wait for its end; exit code, output and error output."""
        await eventually(lambda: self._process.poll() is not None, what="the command ends")
        assert self._process.returncode is not None
        return self._process.returncode, self._out.read_text(), self._err.read_text()


def _main(constants: Mapping[tuple[str, str], object]) -> None:
    for (module, name), value in constants.items():
        setattr(importlib.import_module(module), name, value)
    importlib.import_module("cli.app").main()


async def run_command(pipeline: Pipeline, name: str, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, output and error output; ``settings`` are added to the environment."""
    where = (f"--bootstrap={pipeline.kafka}", f"--topic-prefix={pipeline.prefix}")
    return await PreloadedCommand(pipeline.directory, name, *arguments, *where, env=settings).communicate()
