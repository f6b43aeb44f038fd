"""A Compose project of the tests' own: name, ports, output folder and volumes."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.commands import project_environment
from bonus_airflow.operations.compose import ComposeMode
from bonus_airflow.tests.airflow_processes import HANGS_AFTER_S
from local.ports import free_ports

# Containers are found healthy sooner than a user needs it; the database of the local pipeline's settings is none that a container
# could reach.
_OVERRIDE = {
    "services": {
        **{
            name: {"healthcheck": {"interval": "2s"}}
            for name in ("zookeeper", "kafka", "generator", "processor", "analytics", "live")
        },
        "sink": {"healthcheck": {"interval": "2s"}, "environment": {"SINK_OUTPUTS": "file"}},
        "cli": {"environment": {"SINK_OUTPUTS": "file"}},
    }
}


def require_engine() -> None:
    """Skip the test where Compose cannot be used; fail it with REQUIRE_DOCKER=1."""
    if problem := ComposeMode().problem():
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1, but {problem}")
        pytest.skip(f"no Docker engine with Compose v2: {problem}")


class ComposePipeline:
    """``settings`` are the environment variables by which commands and DAGs find it; they start nothing."""

    def __init__(self, directory: Path) -> None:
        self.output = directory / "output"
        self.output.mkdir()
        override = directory / "compose.test.yml"
        override.write_text(json.dumps(_OVERRIDE))  # YAML, too
        kafka_port, live_port = free_ports(2)
        self.settings = {
            "COMPOSE_PROJECT_NAME": f"airflow-test-{os.getpid()}",
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}{os.pathsep}{override}",
            "COMPOSE_ENV_FILES": os.devnull,  # the checkout's `.env` is its owner's
            "PIPELINE_KAFKA_PORT": str(kafka_port),
            "PIPELINE_LIVE_PORT": str(live_port),
            "OUTPUT_DIR": str(self.output),
        }

    def compose(self, *arguments: str) -> str:
        """What ``docker compose`` prints."""
        return self._run("docker", "compose", *arguments)

    def started_at(self) -> dict[str, str]:
        """When each container was last started, by its name."""
        ids = self.compose("ps", "--all", "--quiet").split()
        if not ids:
            return {}
        lines = self._run("docker", "inspect", "--format", "{{.Name}} {{.State.StartedAt}}", *ids).splitlines()
        return dict(line.removeprefix("/").split(" ", 1) for line in lines)

    def kill(self, service: str, replica: int) -> str:
        """SIGKILL for a container, which the engine then does not start again by itself; returns its name."""
        name = self._name(service, replica)
        self._run("docker", "kill", name)
        return name

    def follow_log(self, service: str, replica: int) -> "subprocess.Popen[str]":
        """Collects a container's log, which is gone with the container; ends with it."""
        return subprocess.Popen(
            ["docker", "logs", "--follow", self._name(service, replica)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def remove(self) -> None:
        """Containers, data and images."""
        self.compose("--profile", "*", "down", "--volumes", "--rmi", "local", "--timeout", "1")

    def _name(self, service: str, replica: int) -> str:
        return f"{self.settings['COMPOSE_PROJECT_NAME']}-{service}-{replica}"

    def _run(self, *command: str) -> str:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=project_environment(self.settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=HANGS_AFTER_S,
            check=True,
        ).stdout
