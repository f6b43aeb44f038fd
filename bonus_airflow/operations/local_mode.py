"""The pipeline as processes on this machine: `pipeline up` and the related commands."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bonus_airflow.operations.commands import PIPELINE, SERVICES_PYTHON, output_of, run_command
from bonus_airflow.operations.draining import stop_in_order
from bonus_airflow.operations.errors import CommandError, OperationError
from bonus_airflow.operations.http_json import get_json
from bonus_airflow.operations.parts import INFRASTRUCTURE, Part, StartPlan
from bonus_airflow.operations.run_marker import locked_pipeline

_ENDED = "EXITED"
_STOPPED = ("STOPPED", "STOPPING")
# Other states of the supervisor, which have no exit code.
_STATES = {"BACKOFF": "ends soon after each start", "FATAL": "ended soon after each start, and is no longer started"}
# As long as `pipeline up` waits: Kafka may have a log to recover.
_STARTS_WITHIN_S = 150.0


class LocalMode:
    """Uses the command ``.venv/bin/pipeline`` for everything."""

    name = "local"
    can_control = True

    def problem(self) -> str:
        return ""

    def is_running(self) -> bool:
        return bool(self._status()["state"] != "stopped")

    def start(self, plan: StartPlan) -> None:
        with locked_pipeline() as lock:
            state = self._status()["state"]
            if state == "unsupervised":  # of an earlier start, whose supervisor was killed
                self._run("down", lock=lock)
            if state != "running":
                replicas = ("--processors", str(plan.processors), "--analytics", str(plan.analytics))
                self._run("up", "--detach", *replicas, settings=plan.settings, lock=lock)

    def parts(self) -> list[Part]:
        status = self._running_status()
        return [part_of(program, time.time()) for program in status["programs"]]

    def restart(self, part: str) -> None:
        with locked_pipeline() as lock:
            self._run("restart", part, lock=lock)

    def stop_generator(self) -> None:
        self._stop("generator")

    def left_to_drain(self) -> list[str]:
        status = self._running_status()
        # A stopped replica does not respond, and has no partitions.
        running = [each for each in status["programs"] if each["state"] not in (_ENDED, *_STOPPED, "FATAL")]
        analytics = [each["port"] for each in running if each["service"] == "analytics"]
        if not analytics:
            return ["the analytics to run"]
        urls = [f"http://127.0.0.1:{port}" for port in analytics]
        outputs = ",".join(status["sink_outputs"])
        return drained_output(
            [
                *(SERVICES_PYTHON, "-m", "watch.drained", "--live", status["live_page"]),
                *("--outputs", outputs, "--analytics", *urls),
            ]
        )

    def written_outputs(self) -> list[str]:
        return list(self._running_status()["sink_outputs"])

    def stop_services(self) -> None:
        stop_in_order(self._stop, self.left_to_drain)

    def verify(self) -> None:
        self._run("verify", "--local", "--wait-closed", "0")

    def stop_all(self) -> None:
        with locked_pipeline() as lock:
            self._run("down", lock=lock)

    def snapshot(self) -> Mapping[str, Any]:
        return get_json(f"{self._running_status()['live_page']}snapshot")

    def _stop(self, *programs: str) -> None:
        with locked_pipeline() as lock:
            self._run("stop", *programs, lock=lock)

    def _run(self, *arguments: str, settings: Mapping[str, str] | None = None, lock: int | None = None) -> None:
        run_command([PIPELINE, *arguments], settings=settings, inherited_fds=[] if lock is None else [lock])

    def _running_status(self) -> Mapping[str, Any]:
        status = self._status()
        if status["state"] != "running":
            raise OperationError(f"local mode is {status['state']}: `make run` starts it, `make down` ends it")
        return status

    def _status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = json.loads(output_of([PIPELINE, "status", "--json", "--local"]))
        return status


def drained_output(command: Sequence[object]) -> list[str]:
    """The remaining work by ``watch.drained``, whose exit code is 1 if there is any.

    Raises:
        CommandError: it has another exit code, or does not print JSON.
    """
    arguments = [*map(str, command), "--timeout", "0", "--json"]
    failure = None
    try:
        text = output_of(arguments)
    except CommandError as error:
        if error.exit_code != 1:
            raise
        failure, text = error, error.stdout
    try:
        left: list[str] = json.loads(text)["waiting_for"]
    except ValueError as error:
        raise failure or CommandError(arguments, 0, text) from error
    return left


def part_of(program: Mapping[str, Any], now_s: float) -> Part:
    """A program, as ``pipeline status --json`` describes it."""
    state, health = program["state"], program["health"]
    # A generator with a count ends by itself, with exit code 0.
    is_stopped = state in _STOPPED or (state == _ENDED and program["exit_code"] == 0)
    is_starting = False
    if is_stopped or (state == "RUNNING" and health == "ok"):
        problem = ""
    elif state == "RUNNING":
        problem = f"unhealthy: {health}"
        is_starting = program["service"] in INFRASTRUCTURE and now_s - program["started_at_s"] < _STARTS_WITHIN_S
    elif state == _ENDED:
        problem = f"ended with exit code {program['exit_code']}"
    else:
        problem = _STATES.get(state, state.lower())
    return Part(program["name"], program["service"], problem, is_stopped, is_starting)
