"""The pipeline in containers: docker-compose.yml."""

import json
import os
from collections.abc import Mapping
from typing import Any

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.commands import PIPELINE, output_of, run_command
from bonus_airflow.operations.errors import CommandError
from bonus_airflow.operations.http_json import get_json
from bonus_airflow.operations.local_mode import drained_output
from bonus_airflow.operations.parts import INFRASTRUCTURE, SERVICES, Part, StartPlan
from bonus_airflow.operations.run_marker import locked_pipeline

_COMPOSE = ("docker", "compose")
_PIPELINE = frozenset((*INFRASTRUCTURE, *SERVICES, "live"))


class ComposeMode:
    """All of it goes through ``docker compose`` in the checkout, with COMPOSE_PROJECT_NAME if that is set."""

    name = "compose"

    def is_present(self) -> bool:
        """Whether there is an engine, and a Compose that can use it."""
        try:
            output_of([*_COMPOSE, "version"], timeout_s=20)
            output_of(["docker", "info", "--format", "{{json .ServerVersion}}"], timeout_s=20)
        except CommandError:
            return False
        return True

    def is_running(self) -> bool:
        return bool(self._containers("--status", "running", "--status", "restarting"))

    def start(self, plan: StartPlan) -> None:
        replicas = ("--scale", f"processor={plan.processors}", "--scale", f"analytics={plan.analytics}")
        with locked_pipeline() as lock:
            run_command(
                [*_COMPOSE, "--progress", "plain", "up", "--build", "--detach", *replicas],
                settings=plan.settings,
                inherited_fds=[lock],
            )

    def parts(self) -> list[Part]:
        return [part_of(container) for container in self._containers("--all") if container["Service"] in _PIPELINE]

    def restart(self, part: str) -> None:
        # By the container's name: `docker compose restart` knows services only, and would restart all replicas.
        self._run_locked("docker", "restart", part)

    def stop_generator(self) -> None:
        self._run_locked(*_COMPOSE, "stop", "generator")

    def left_to_drain(self) -> list[str]:
        return drained_output([*_COMPOSE, "exec", "-T", "live", "python", "-m", "watch.drained"])

    def stop_services(self) -> None:
        self._run_locked(*_COMPOSE, "stop", *SERVICES)

    def verify(self) -> None:
        output = f"{os.environ.get('OUTPUT_DIR') or ROOT / 'output'}/metrics.json"
        broker = f"localhost:{os.environ.get('PIPELINE_KAFKA_PORT') or 9092}"
        run_command([PIPELINE, "verify", "--bootstrap", broker, "--output", output, "--wait-closed", "0"])

    def stop_all(self) -> None:
        self._run_locked(*_COMPOSE, "down")

    def snapshot(self) -> Mapping[str, Any]:
        return get_json(f"http://127.0.0.1:{os.environ.get('PIPELINE_LIVE_PORT') or 8080}/snapshot")

    def _run_locked(self, *command: str) -> None:
        with locked_pipeline() as lock:
            run_command(command, inherited_fds=[lock])

    def _containers(self, *filters: str) -> list[Mapping[str, Any]]:
        # One JSON object a line.
        return [json.loads(line) for line in output_of([*_COMPOSE, "ps", "--format", "json", *filters]).splitlines()]


def part_of(container: Mapping[str, Any]) -> Part:
    """A container, as ``docker compose ps --format json`` tells of it."""
    state, health = container["State"], container["Health"]
    is_stopped = state == "exited" and container["ExitCode"] == 0
    if is_stopped or (state == "running" and health == "healthy"):
        problem = ""
    elif state == "running":
        problem = f"unhealthy: {health or 'no health check'}"
    else:
        problem = f"{state}, last exit code {container['ExitCode']}"
    return Part(container["Name"], container["Service"], problem, is_stopped)
