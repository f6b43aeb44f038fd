"""A real Airflow of the tests' own: API server, scheduler, DAG processor and triggerer, each a process that a test can kill."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from bonus_airflow.environment import airflow_environment

HANGS_AFTER_S = 600.0
"""No test asserts how long anything takes: what has not happened by then never will."""

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
# Logs are read from the folder, which all of them share.
_FLAGS = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}
_POLL_S = 0.5
_ENDED = frozenset({"success", "failed"})

# What makes tests wait less, and lets them in without a password.
_SETTINGS = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
}


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = HANGS_AFTER_S) -> Any:
    """The first true value of ``condition``."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(_POLL_S)
    return found


class Airflow:
    """Starts with ``start`` all that is given; ``settings`` are environment variables of all its processes and tasks."""

    def __init__(self, home: Path, port: int, settings: Mapping[str, str]) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        self._env = airflow_environment(home, port) | _SETTINGS | dict(settings)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._client = httpx.Client(base_url=self.url, timeout=HANGS_AFTER_S, trust_env=False)

    def migrate(self) -> None:
        """Make the database."""
        self.command("db", "migrate")

    def command(self, *arguments: str) -> str:
        """What ``airflow ARGUMENTS`` prints."""
        done = subprocess.run(
            ["airflow", *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER_S,
            check=False,
            cwd=self.home,
        )
        assert done.returncode == 0, f"airflow {arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def start(self, *components: str) -> None:
        for component in components:
            with (self.home / f"{component}.log").open("ab") as log:
                self._processes[component] = subprocess.Popen(
                    ["airflow", component, *_FLAGS.get(component, ())],
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.home,
                )

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a component; a SIGKILL leaves its children behind, as the kernel's out-of-memory killer does."""
        process = self._processes.pop(component)
        process.send_signal(number)
        process.wait(HANGS_AFTER_S)

    def pause(self, component: str) -> None:
        """Halt the component itself; what it has started goes on."""
        self._processes[component].send_signal(signal.SIGSTOP)

    def kill_tree(self, component: str) -> None:
        """SIGKILL for the component and all that it has started, as when a container or a machine dies."""
        process = self._processes.pop(component)
        for pid in [process.pid, *_descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(HANGS_AFTER_S)

    def stop(self) -> None:
        """End all; what was left behind by kills is ended with the test run, by local/process_tree.py."""
        for process in self._processes.values():
            process.terminate()
        for component, process in self._processes.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.returncode not in {0, -signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGTERM}:
                sys.stdout.write(f"{component} ended with {process.returncode}\n")
        self._processes.clear()
        self._client.close()

    def wait_until_ready(self, dag_ids: list[str]) -> None:
        """Every DAG is there, and all components say that they are healthy."""

        def is_ready() -> bool:
            try:
                health = self._client.get("/api/v2/monitor/health").json()
                self._login()
                known = {each["dag_id"] for each in self.get("/dags")["dags"]}
            except (httpx.HTTPError, ValueError, KeyError):
                return False
            components = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            return known >= set(dag_ids) and all(health[each]["status"] == "healthy" for each in components)

        eventually(is_ready, f"Airflow is healthy and knows {dag_ids}; logs in {self.home}")

    def get(self, path: str, **query: Any) -> Any:
        answer = self._client.get(f"/api/v2{path}", params=query)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        return self._send("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self._send("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def refusal(self, path: str, body: Any) -> str:
        """What the API says to a request that it refuses."""
        answer = self._client.post(f"/api/v2{path}", json=body)
        assert answer.is_client_error, answer.text
        return answer.text

    def trigger(self, dag_id: str, **params: Any) -> str:
        """Start a run as the trigger form does; returns its id."""
        run_id: str = self.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": params})["dag_run_id"]
        return run_id

    def state_of(self, dag_id: str, run_id: str) -> str:
        state: str = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def tasks_of(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Task instances by task id."""
        found = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return {each["task_id"]: each for each in found}

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        return {name: each["state"] for name, each in self.tasks_of(dag_id, run_id).items()}

    def await_task(self, dag_id: str, run_id: str, task_id: str, *states: str) -> None:
        def is_there() -> bool:
            run_state = self.state_of(dag_id, run_id)
            found = self.states(dag_id, run_id).get(task_id) in states
            assert found or run_state not in _ENDED, self.failure_details(dag_id, run_id)
            return found

        eventually(is_there, f"{task_id} of {run_id} is {' or '.join(states)}")

    def await_run(self, dag_id: str, run_id: str) -> str:
        """The run's state at its end."""
        eventually(lambda: self.state_of(dag_id, run_id) in _ENDED, f"the end of {dag_id} {run_id}")
        return self.state_of(dag_id, run_id)

    def log_of(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The log of a task's last try, the lines of its trigger included."""
        attempt = self.tasks_of(dag_id, run_id)[task_id]["try_number"]
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.get(path, full_content=True)["content"]
        return "\n".join(json.dumps(each) if isinstance(each, dict) else str(each) for each in content)

    def failure_details(self, dag_id: str, run_id: str) -> str:
        """The run's tasks, and the logs of those that failed: for the message of an assertion."""
        states = self.states(dag_id, run_id)
        failed = [name for name, state in states.items() if state == "failed"]
        logs = "\n".join(f"--- {name}\n{self.log_of(dag_id, run_id, name)[-4000:]}" for name in failed)
        return f"{states}\n{logs}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, f"/api/v2{path}", json=body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def _login(self) -> None:
        token = self._client.get("/auth/token").json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [each for child in children for each in (child, *_descendants(child))]


def process_ids_of(pattern: str) -> list[int]:
    """Processes whose command line has ``pattern``, in order of their ids."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = os.fsdecode((entry / "cmdline").read_bytes())
            except OSError:
                continue
            if pattern in command:
                found.append(int(entry.name))
    return sorted(found)
