"""A separate Compose project for the tests, with its own name, port, output folder, volumes and images."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest

from tests.integration.services import HANGS_AFTER_S

ROOT = Path(__file__).resolve().parents[2]

# The engine starts a process for each health check, which takes a tenth of a second of CPU. So in the tests a healthy service is
# checked less often than for users, and a starting one more often.
_HEALTH_CHECK = {"interval": "60s", "start_interval": "2s", "start_period": "600s"}
_CHECKED = ("generator", "processor", "analytics", "sink", "live", "prometheus", "database")
_WITHOUT_CHECK = ("kafka-secrets", "kafka-setup")  # they end


_PAUSES_BETWEEN_BUILDS_S = (5, 30)
_SHOWN_CHARACTERS = 3000  # the end of what docker wrote to standard error


class DockerError(Exception):
    """``docker`` failed; the message holds what it wrote to standard error."""


def engine_problem() -> str | None:
    """Why no Compose project can be run here; None if one can."""
    for command in (["docker", "compose", "version"], ["docker", "info"]):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        except subprocess.CalledProcessError as error:
            return f"{' '.join(command)}: {error.stderr.strip()}"
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{' '.join(command)}: {error}"
    return None


def require_engine() -> None:
    """Skip the test if there is no engine; fail it with REQUIRE_DOCKER=1."""
    if problem := engine_problem():
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1, but {problem}")
        pytest.skip(f"no Docker engine with Compose v2: {problem}")


@dataclass(frozen=True)
class Project:
    """``docker compose`` with the settings of one test run."""

    name: str
    kafka_port: int
    output: Path
    settings: Mapping[str, str]
    files: tuple[str, ...] = ("docker-compose.yml",)
    java: tuple[str, ...] = ("zookeeper", "kafka")
    """Services in Java: they run for minutes, so their JIT compilation is limited as for the tests' local brokers."""

    @property
    def bootstrap(self) -> str:
        return f"localhost:{self.kafka_port}"

    @property
    def metrics(self) -> Path:
        return self.output / "metrics.json"

    def writing_to(self, output: Path) -> Self:
        """The same project with another output folder, which is used when the sink is recreated."""
        return replace(self, output=output)

    @contextlib.contextmanager
    def up(self, *services: str, directory: Path, options: Sequence[str] = ()) -> Iterator[Self]:
        """Build ``services`` and start them with ``docker compose up``; afterwards remove all, and ``directory`` as well."""
        try:
            self._build(services)
            self.compose("up", "--detach", *options, *services)
            yield self
        finally:
            # pytest shows it when the start or the last test failed.
            print(self.compose("logs", "--no-color", "--tail", "80"))  # noqa: T201
            self.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "1")
            shutil.rmtree(directory)

    def _build(self, services: Sequence[str]) -> None:
        """Build the images of ``services``; repeated if it fails, since packages come from an index that may be unreachable for a moment."""
        command = ("build", "--with-dependencies", *services)
        for pause_s in _PAUSES_BETWEEN_BUILDS_S:
            try:
                self.compose(*command)
            except DockerError as error:
                print(f"The build is repeated after {pause_s} s. {error}")  # noqa: T201
                time.sleep(pause_s)
            else:
                return
        self.compose(*command)

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose`` and return what it printed.

        Raises:
            DockerError: it failed.
        """
        environment = {
            **os.environ,
            **self.settings,
            "PIPELINE_KAFKA_PORT": str(self.kafka_port),
            "OUTPUT_DIR": str(self.output),
        }
        # The user's `.env` in the checkout must not affect the test.
        command = ["docker", "compose", "--project-name", self.name, "--env-file", os.devnull, "--progress", "quiet"]
        command += [argument for file in (*self.files, "-") for argument in ("--file", file)]
        overlay: dict[str, dict[str, Any]] = {
            name: {"environment": {"JAVA_TOOL_OPTIONS": os.environ["JAVA_TOOL_OPTIONS"]}} for name in self.java
        }
        for name in {*_CHECKED, *self.java}.difference(_WITHOUT_CHECK):
            overlay.setdefault(name, {})["healthcheck"] = _HEALTH_CHECK
        # JSON is YAML, too.
        return _run([*command, *arguments], environment=environment, text=json.dumps({"services": overlay}))

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """``docker inspect`` of every container of ``services`` (default: all), running or not."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        return json.loads(docker("inspect", *ids)) if ids else []


def docker(*arguments: str) -> str:
    """Run ``docker`` and return what it printed.

    Raises:
        DockerError: it failed.
    """
    return _run(["docker", *arguments])


def _run(command: list[str], *, environment: Mapping[str, str] | None = None, text: str | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    if done.returncode:
        raise DockerError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr[-_SHOWN_CHARACTERS:]}")
    return done.stdout
