"""Register the connectors in ``connectors/`` with a Kafka Connect worker, and wait until all of their tasks run.

``python connect/register.py``. It is idempotent: connectors with the right configuration are left alone, and failed tasks are
restarted. ``--check`` only prints the states. It uses only the standard library, so that a plain Python image can run it.
"""

import argparse
import http.client
import json
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

CONNECTORS = Path(__file__).resolve().parent / "connectors"
Config = dict[str, str]

_DEFAULT_URL = "http://localhost:8083"
_REQUEST_TIMEOUT_S = 30.0
_POLL_S = 0.5
_RESTART_EVERY_S = 5.0
# The worker answers before it restarts the tasks of a changed connector: until then the old ones are RUNNING.
_CHANGED_RUNS_FOR_S = 5.0
# The workers are rebalancing, or a worker is starting: it responds 404 to all requests until its REST resources are loaded.
_BUSY = (http.client.CONFLICT, http.client.SERVICE_UNAVAILABLE, http.client.NOT_FOUND)


class RegistrationError(Exception):
    """The connectors could not be registered, or do not run; the message says why."""


class State(NamedTuple):
    """The status of a connector: the states of connector and tasks, and the stack trace of the first failure."""

    connector: str
    tasks: Sequence[str]
    trace: str

    @property
    def runs(self) -> bool:
        """Whether the connector and each of its tasks run: a connector stays RUNNING even if all of its tasks have failed."""
        return bool(self.tasks) and {self.connector, *self.tasks} == {"RUNNING"}

    @property
    def has_failed(self) -> bool:
        return "FAILED" in (self.connector, *self.tasks)


_UNKNOWN = State("UNKNOWN", [], "")


class Worker:
    """The REST interface of a worker at ``url``, a plain http address.

    Raises:
        RegistrationError: ``url`` is something else; it is not in the message, since it may contain a password.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port or 8083
            http.client.HTTPConnection(self._host)  # it does not connect yet
        except (ValueError, http.client.InvalidURL):
            self._host = ""
        if not self._host or parts.scheme != "http" or "@" in url:
            raise RegistrationError(
                f"CONNECT_URL has to be like {_DEFAULT_URL}: http, a host, a port, and no user or password"
            ) from None
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._port}"

    def request(self, method: str, path: str, body: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Status and decoded body of the response; 503 if no worker responds."""
        # http.client, unlike urllib, ignores a proxy in the environment.
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_REQUEST_TIMEOUT_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last for a host that no name can be
            return http.client.SERVICE_UNAVAILABLE, {"message": f"no answer: {error}"}
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text) if text else None
        except ValueError:
            return answer.status, {"message": text.decode(errors="replace")}

    def patiently(self, deadline: float, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        """The decoded response; the request is repeated until ``deadline`` (monotonic seconds) while the worker is busy.

        Raises:
            RegistrationError: the worker rejects the request, or was busy until the deadline.
        """
        while True:
            status, answer = self.request(method, path, body)
            if status < http.client.BAD_REQUEST:
                return answer
            message = answer.get("message") if isinstance(answer, dict) else answer
            # 500 is a bug, or the worker's timeout while waiting for the other workers.
            busy = status in _BUSY or (status == http.client.INTERNAL_SERVER_ERROR and "timed out" in str(message))
            if not busy or time.monotonic() > deadline:
                raise RegistrationError(f"{method} {self.url}{path}: {status}, {message}")
            time.sleep(_POLL_S)

    def states(self, names: Sequence[str], deadline: float) -> dict[str, State]:
        """The connectors' states; UNKNOWN without tasks for one that the worker does not have."""
        found = self.patiently(deadline, "GET", "/connectors?expand=status")
        return {name: self._state(found[name]["status"]) if name in found else _UNKNOWN for name in names}

    @staticmethod
    def _state(found: Mapping[str, Any]) -> State:
        parts = [found["connector"], *found["tasks"]]
        traces = [part["trace"] for part in parts if part["state"] == "FAILED" and "trace" in part]
        return State(found["connector"]["state"], [task["state"] for task in found["tasks"]], next(iter(traces), ""))


def connectors(prefix: str, folder: Path = CONNECTORS) -> dict[str, Config]:
    """The configuration of each connector by name; ``prefix`` is put before connector, topic and file names."""
    return {
        prefix + path.stem: _with_prefix(json.loads(path.read_text()), prefix) for path in sorted(folder.glob("*.json"))
    }


def _with_prefix(config: Config, prefix: str) -> Config:
    changed = dict(config)
    for name in ("topics", "errors.deadletterqueue.topic.name"):
        if name in config:
            changed[name] = ",".join(prefix + topic.strip() for topic in config[name].split(","))
    if "file" in config:
        file = PurePosixPath(config["file"])
        changed["file"] = str(file.with_name(prefix + file.name))
    return changed


def register(worker: Worker, wanted: Mapping[str, Config], deadline: float) -> set[str]:
    """Create or update the connectors that differ from ``wanted``; returns the names of those that it has changed.

    Raises:
        RegistrationError: the worker rejects a request, or is unavailable until ``deadline``.
    """
    known = worker.patiently(deadline, "GET", "/connectors?expand=info")
    changed = set()
    for name, config in wanted.items():
        found = known[name]["info"]["config"] if name in known else None
        if found == config | {"name": name}:
            _print_line(f"{name}: registered already")
            continue
        worker.patiently(deadline, "PUT", f"/connectors/{quote(name, safe='')}/config", config)
        if found is not None:
            changed.add(name)
        _print_line(f"{name}: {'registered' if found is None else 'changed'}")
    return changed


def wait_until_running(
    worker: Worker, names: Sequence[str], deadline: float, changed: Collection[str] = ()
) -> dict[str, State]:
    """The states once all run, those ``changed`` for some seconds, or at the ``deadline``.

    Failed connectors and tasks are restarted every few seconds.
    """
    restart_at = dict.fromkeys(names, 0.0)
    settled_at = dict.fromkeys(changed, time.monotonic() + _CHANGED_RUNS_FOR_S)
    while True:
        states = worker.states(names, deadline)
        now = time.monotonic()
        settled_at |= {name: now + _CHANGED_RUNS_FOR_S for name in changed if not states[name].runs}
        if all(state.runs for state in states.values()):
            if now >= max(settled_at.values(), default=now):
                return states
        elif now > deadline:
            return states
        for name, state in states.items():
            if state.has_failed and now >= restart_at[name]:
                # Without includeTasks only the connector is restarted, not its failed tasks.
                restart = f"/connectors/{quote(name, safe='')}/restart?includeTasks=true&onlyFailed=true"
                worker.patiently(deadline, "POST", restart)
                _print_line(f"{name}: failed, restarted")
                restart_at[name] = now + _RESTART_EVERY_S
        time.sleep(_POLL_S)


def print_states(states: Mapping[str, State]) -> bool:
    """Print a line for each connector; whether all run."""
    for name, state in states.items():
        _print_line(f"{name}: connector {state.connector}, tasks {' '.join(state.tasks) or 'none'}")
        if state.trace:
            _print_line(f"    {state.trace.strip()}")
    return all(state.runs for state in states.values())


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 once all connectors run."""
    parser = argparse.ArgumentParser(
        prog="register.py", description="Registers connectors/ with a Kafka Connect worker."
    )
    parser.add_argument("--check", action="store_true", help="only tell the connectors' states")
    parser.add_argument(
        "--url", default=os.environ.get("CONNECT_URL") or _DEFAULT_URL, help=f"CONNECT_URL ({_DEFAULT_URL})"
    )
    parser.add_argument("--topic-prefix", default=os.environ.get("TOPIC_PREFIX", ""), help="TOPIC_PREFIX")
    parser.add_argument(
        "--timeout", type=float, default=180.0, help="seconds to wait for the worker and the tasks (%(default)s)"
    )
    options = parser.parse_args(arguments)
    wanted, deadline = connectors(options.topic_prefix), time.monotonic() + options.timeout
    try:
        worker = Worker(options.url)
        if options.check:
            states = worker.states(list(wanted), time.monotonic())
        else:
            changed = register(worker, wanted, deadline)
            states = wait_until_running(worker, list(wanted), deadline, changed)
    except RegistrationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if print_states(states) else 1


if __name__ == "__main__":
    sys.exit(main())
