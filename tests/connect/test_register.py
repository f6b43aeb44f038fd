"""Unit tests of ``connect/register.py``: connector files and responses of a worker, without a worker."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from connect import register
from connect.register import CONNECTORS, State, Worker, connectors, main
from libs.events.topics import ORDERS_DLQ, PRODUCT_METRICS
from tests.connect.worker import image_settings
from tests.integration.services import ROOT


def test_connectors_are_registered_as_in_their_files() -> None:
    found = connectors("")
    assert {name: config["topics"] for name, config in found.items()} == {
        "metrics-file": PRODUCT_METRICS.name,
        "dead-letters-file": ORDERS_DLQ.name,
    }
    for name, config in found.items():
        assert config == json.loads((CONNECTORS / f"{name}.json").read_text())


def test_the_prefix_is_added_to_names_topics_and_files() -> None:
    config = connectors("b.")["b.metrics-file"]
    assert config["topics"] == "b.product-metrics"
    assert config["file"] == "output/connect/b.metrics.json"
    assert config["errors.deadletterqueue.topic.name"] == "b.connect-dlq"


def test_a_connector_of_another_class_needs_no_file(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"connector.class": "Jdbc", "topics": "product-metrics, late-orders"}')
    assert connectors("b.", tmp_path) == {
        "b.rows": {"connector.class": "Jdbc", "topics": "b.product-metrics,b.late-orders"}
    }


@pytest.mark.parametrize(
    ("state", "runs", "has_failed"),
    [
        (State("RUNNING", ["RUNNING"], ""), True, False),
        (State("RUNNING", ["FAILED"], ""), False, True),
        (State("FAILED", [], ""), False, True),
        (State("RUNNING", [], ""), False, False),
        (State("RUNNING", ["UNASSIGNED"], ""), False, False),
        (State("PAUSED", ["PAUSED"], ""), False, False),
    ],
)
def test_a_connector_is_running_once_its_tasks_are(state: State, *, runs: bool, has_failed: bool) -> None:
    assert (state.runs, state.has_failed) == (runs, has_failed)


@pytest.mark.parametrize(
    "url",
    [
        "connect:8083",
        "https://connect:8083",
        "",
        "http://worker:80x",
        "http://worker:80000",
        "http://[::1",
        "http://wor ker",
        "http://me:hidden@worker:8083",
        "http://me:hidden/@worker:8083",
        "http://me:hidden",
    ],
)
def test_an_invalid_address_is_rejected_in_one_line_without_its_password(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", url]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "CONNECT_URL" in line
    assert "hidden" not in line


def test_the_help_does_not_contain_the_address_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONNECT_URL", "http://me:hidden@worker:8083")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "hidden" not in capsys.readouterr().out


def test_an_invalid_host_name_counts_as_no_response(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", f"http://{'a' * 70}", "--timeout", "0"]) == 1
    assert "no answer" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[::1]:1"])
def test_the_error_names_a_worker_that_does_not_respond(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", f"{address}/?ignored", "--timeout", "0"]) == 1
    assert f"{address}/connectors" in capsys.readouterr().err


class StartingWorker(BaseHTTPRequestHandler):
    """Responds with 404 to the first requests of each kind, like a worker that has not loaded its resources yet."""

    early: ClassVar[Counter[str]] = Counter()
    registered: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        states = {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}
        info = {name: {"status": states, "info": {"config": config}} for name, config in self.registered.items()}
        self._answer(200, info)

    def do_PUT(self) -> None:
        config = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._answer(201, config):
            self.registered[self.path.split("/")[2]] = config

    def _answer(self, status: int, content: Any) -> bool:
        self.early[self.command] += 1
        ready = self.early[self.command] > 2
        body = json.dumps(content).encode() if ready else b""
        self.send_response(status if ready else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return ready

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_404_of_a_starting_worker_is_retried(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "_POLL_S", 0.01)
    with ThreadingHTTPServer(("127.0.0.1", 0), StartingWorker) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            assert main(["--url", f"http://127.0.0.1:{server.server_port}"]) == 0
        finally:
            server.shutdown()
            thread.join()
    assert StartingWorker.registered == connectors("")
    assert "metrics-file: registered\n" in capsys.readouterr().out


class ReconfiguredWorker(Worker):
    """Answers a change at once, and restarts the tasks two seconds later; they fail unless ``tasks_start``."""

    def __init__(self, clock: "FakeTime", *, tasks_start: bool) -> None:
        super().__init__("http://worker:8083")
        self._clock = clock
        self._tasks_start = tasks_start
        self._changed_at_s: float | None = None

    def request(self, method: str, path: str, body: Mapping[str, str] | None = None) -> tuple[int, Any]:
        if method == "PUT":
            self._changed_at_s = self._clock.monotonic()
        old = self._changed_at_s is None or self._clock.monotonic() < self._changed_at_s + 2
        task = {"state": "RUNNING"} if old or self._tasks_start else {"state": "FAILED", "trace": "no such folder"}
        states = {"connector": {"state": "RUNNING"}, "tasks": [task]}
        return 200, {name: {"status": states, "info": {"config": {"name": name}}} for name in connectors("")}


class FakeTime:
    """As much of ``time`` as the program uses."""

    def __init__(self) -> None:
        self._now_s = 1000.0

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds


@pytest.mark.parametrize("tasks_start", [True, False])
@pytest.mark.parametrize("timeout_s", ["0", "60"])
def test_a_changed_connector_runs_if_its_new_tasks_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], timeout_s: str, *, tasks_start: bool
) -> None:
    clock = FakeTime()
    monkeypatch.setattr(register, "time", clock)
    monkeypatch.setattr(register, "Worker", lambda _: ReconfiguredWorker(clock, tasks_start=tasks_start))
    assert main(["--timeout", timeout_s]) == (0 if tasks_start else 1)
    assert ("no such folder" in capsys.readouterr().out) is not tasks_start


def test_all_worker_settings_are_in_the_compose_file_or_in_connect() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    in_compose = set(re.findall(r"^ +CONNECT_([A-Z_]+): \S", compose, re.MULTILINE)) - {"URL"}
    both = {name.lower().replace("_", ".") for name in in_compose} & set(image_settings())
    assert not both
