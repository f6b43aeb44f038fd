"""The pipeline in containers: docker-compose.yml."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from bonus_airflow.operations.commands import output_of, run_command
from bonus_airflow.operations.draining import stop_in_order
from bonus_airflow.operations.errors import CommandError, OperationError
from bonus_airflow.operations.http_json import get_json
from bonus_airflow.operations.local_mode import drained_output
from bonus_airflow.operations.parts import INFRASTRUCTURE, SERVICES, Part, StartPlan
from bonus_airflow.operations.run_marker import locked_pipeline
from watch import drained

log = logging.getLogger(__name__)

_COMPOSE = ("docker", "compose")
# Progress as lines for the task log. With --quiet-pull that is one line for each image, and not one for each update of a bar.
_COMPOSE_PLAIN = (*_COMPOSE, "--progress", "plain")
_PIPELINE = frozenset((*INFRASTRUCTURE, *SERVICES, "live"))
_REQUIRED: tuple[Sequence[str], ...] = (
    (*_COMPOSE, "version"),
    ("docker", "info", "--format", "{{json .ServerVersion}}"),
    (*_COMPOSE, "config", "--quiet"),
)
_PROBE_TIMEOUT_S = 60.0
# After `docker compose stop` Java exits with 143, for SIGTERM. What ends by itself is restarted, and is not "exited" for long.
_STOPPED_CODES = (0, 143)
_DATABASE_SINK = "sink-database"


class ComposeMode:
    """All of it goes through ``docker compose`` in the checkout.

    What Compose reads from the shell or from `.env` holds for it, COMPOSE_PROJECT_NAME, COMPOSE_FILE and the published ports
    among them: so ports are asked of Compose, and the verification runs in the Compose network.
    """

    name = "compose"
    can_control = True

    def problem(self) -> str:
        """There must be Compose v2, an engine that answers, and a compose file that Compose can read."""
        for command in _REQUIRED:
            try:
                output_of(command, timeout_s=_PROBE_TIMEOUT_S)
            except CommandError as error:
                return f"`{' '.join(command)}`: {error.last_line}"
        return ""

    def is_running(self) -> bool:
        running = self._containers("--status", "running", "--status", "restarting")
        return any(container["Service"] in _PIPELINE for container in running)

    def start(self, plan: StartPlan) -> None:
        log.info("the first start pulls and builds images, which takes minutes; later starts take seconds")
        replicas = ("--scale", f"processor={plan.processors}", "--scale", f"analytics={plan.analytics}")
        with locked_pipeline() as lock:
            run_command(
                [*_COMPOSE_PLAIN, "up", "--build", "--quiet-pull", "--detach", *replicas],
                settings=plan.settings,
                inherited_fds=[lock],
            )

    def parts(self) -> list[Part]:
        return [part_of(container) for container in self._containers("--all") if container["Service"] in _PIPELINE]

    def restart(self, part: str) -> None:
        # By the container's name: `docker compose restart` knows services only, and would restart all replicas.
        self._run_locked("docker", "restart", part)

    def stop_generator(self) -> None:
        self._stop("generator")

    def left_to_drain(self) -> list[str]:
        outputs = ",".join(self.written_outputs())
        return drained_output(
            [*_COMPOSE, "exec", "--no-TTY", "live", "python", "-m", "watch.drained", "--outputs", outputs]
        )

    def written_outputs(self) -> list[str]:
        config = json.loads(output_of([*_COMPOSE, "config", "--format", "json"]))
        names = drained.output_names(config["services"]["sink"]["environment"].get("SINK_OUTPUTS") or "file")
        sinks = [part_of(each) for each in self._containers("--all") if each["Service"] == _DATABASE_SINK]
        if not all(sink.is_stopped for sink in sinks):
            names.append("database")
        return sorted({*names})

    def stop_services(self) -> None:
        stop_in_order(self._stop, self.left_to_drain)

    def verify(self) -> None:
        run_command([*_COMPOSE_PLAIN, "run", "--build", "--rm", "--no-TTY", "cli", "verify", "--wait-closed", "0"])

    def stop_all(self) -> None:
        self._run_locked(*_COMPOSE_PLAIN, "down")

    def snapshot(self) -> Mapping[str, Any]:
        return get_json(f"http://{self._live_address}/snapshot")

    @cached_property
    def _live_address(self) -> str:
        """Where the live page is published, as host:port of loopback."""
        if address := output_of([*_COMPOSE, "port", "live", "8080"]).strip():
            return address
        raise OperationError("the live page is published at no port of this machine")

    def _stop(self, *services: str) -> None:
        self._run_locked(*_COMPOSE_PLAIN, "stop", *services)

    def _run_locked(self, *command: str) -> None:
        with locked_pipeline() as lock:
            run_command(command, inherited_fds=[lock])

    def _containers(self, *filters: str) -> list[Mapping[str, Any]]:
        text = output_of([*_COMPOSE, "ps", "--format", "json", *filters])
        # One JSON object a line. Before Compose 2.21 it was an array of all, or null.
        if text.startswith(("[", "null")):
            return json.loads(text) or []
        return [json.loads(line) for line in text.splitlines()]


def part_of(container: Mapping[str, Any]) -> Part:
    """A container, as ``docker compose ps --format json`` describes it."""
    state, health = container["State"], container["Health"]
    is_stopped = state == "exited" and container["ExitCode"] in _STOPPED_CODES
    # Docker itself turns "starting" into "unhealthy". A container is "created" until those that it depends on are healthy.
    is_starting = state == "created" or (state == "running" and health == "starting")
    if is_stopped or (state == "running" and health == "healthy"):
        problem = ""
    elif is_starting:
        problem = health or "created, and not started yet"
    elif state == "running":
        problem = f"unhealthy: {health or 'no health check'}"
    else:
        problem = f"{state}, last exit code {container['ExitCode']}"
    return Part(container["Name"], container["Service"], problem, is_stopped, is_starting)
