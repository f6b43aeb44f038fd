"""Tests of choosing the backend, and of finding the pipeline to be checked."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from bonus_airflow.operations import claim, compose, watched
from bonus_airflow.operations.backend import choose_backend, running_backend
from bonus_airflow.operations.errors import CommandError, OperationError
from bonus_airflow.operations.health import BROKEN, Finding
from bonus_airflow.operations.health_judgement import Found, find_pipeline
from bonus_airflow.operations.parts import Part
from bonus_airflow.operations.run_marker import Phase, RunMarker, write_marker
from bonus_airflow.operations.watched import LIVE_PAGE_SETTING, replicas
from bonus_airflow.operators.repair import RepairBroken

# Stands in for `docker`: each case of ARGUMENTS) fails, and other commands print the files beside it. Something is left to drain.
DOCKER = """#!/bin/sh
show() {{ test ! -e "${{0%/*}}/$1" || while read -r line; do echo "$line"; done <"${{0%/*}}/$1"; }}
case "$*" in
{failures}
"compose ps"*) show containers ;;
"compose config --format json") show config ;;
"compose exec"*) show drained; echo 'level=warning msg="The \\"X\\" variable is not set."' >&2; exit 1 ;;
esac
"""
SINK = {"Name": "p-sink-1", "Service": "sink", "State": "running", "Health": "healthy", "ExitCode": 0}
Docker = Callable[[Mapping[str, str]], None]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Puts a `docker` on an otherwise empty PATH; until then there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.delenv(LIVE_PAGE_SETTING, raising=False)

    def install(failures: Mapping[str, str]) -> None:
        cases = "\n".join(f'"{command}"*) echo "{error}" >&2; exit 1 ;;' for command, error in failures.items())
        (tmp_path / "docker").write_text(DOCKER.format(failures=cases))
        (tmp_path / "docker").chmod(0o755)

    return install


def ended(run_id: str) -> bool:
    """No run of `pipeline_control` is active."""
    return False


def active(run_id: str) -> bool:
    """Only run ``one`` is active."""
    return run_id == "one"


def test_auto_is_local_mode_without_docker(docker: Docker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto").name == "local"
    assert "backend auto: local mode, since Docker Compose cannot be used: `docker compose version`" in caplog.text


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("compose version", "docker: 'compose' is not a docker command"),
        ("info", "Cannot connect to the Docker daemon"),
        ("compose config", "services.sink.volumes.1 additional property is not allowed"),
    ],
)
def test_auto_is_local_mode_where_compose_cannot_be_used(
    docker: Docker, caplog: pytest.LogCaptureFixture, command: str, error: str
) -> None:
    docker({command: error})
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto").name == "local"
    assert error in caplog.text
    with pytest.raises(OperationError, match=f"backend compose cannot be used: .*{error}"):
        choose_backend("compose")


def test_auto_is_compose_where_it_can_be_used(docker: Docker, caplog: pytest.LogCaptureFixture) -> None:
    docker({})
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto").name == "compose"
    assert "backend auto: compose" in caplog.text
    assert choose_backend("local").name == "local"


def test_a_run_keeps_its_backend_when_the_engine_goes_away(docker: Docker) -> None:
    docker({})
    assert claim.claim_pipeline("one", "auto") == "compose"
    docker({"info": "Cannot connect to the Docker daemon"})
    assert claim.claim_pipeline("one", "auto") == "compose"


def test_the_running_pipeline_is_checked(docker: Docker, tmp_path: Path) -> None:
    assert find_pipeline(ended) == Found("", "no pipeline is running")
    docker({})
    assert find_pipeline(ended) == Found("", "no pipeline is running")
    (tmp_path / "containers").write_text(json.dumps(SINK | {"Service": "prometheus"}) + "\n")
    assert find_pipeline(ended) == Found("", "no pipeline is running")
    (tmp_path / "containers").write_text(json.dumps(SINK) + "\n")
    assert find_pipeline(ended) == Found("compose")
    with pytest.raises(
        OperationError, match=r"no run has started is running \(compose\).*`docker compose --profile '\*' down` ends it"
    ):
        claim.claim_pipeline("one", "local")


def test_the_marker_of_a_run_that_has_ended_is_ignored(docker: Docker, tmp_path: Path) -> None:
    """Its `clean_up` has failed, so nobody is starting or stopping what runs, and what does not run is missed by nobody."""
    docker({})
    for phase in Phase:
        write_marker(RunMarker("one", "local", phase))
        (tmp_path / "containers").write_text("")
        assert find_pipeline(ended) == Found("", "no pipeline is running")
        (tmp_path / "containers").write_text(json.dumps(SINK) + "\n")
        assert find_pipeline(ended) == Found("compose")
    assert find_pipeline(active) == Found("", "run one of pipeline_control is stopping the pipeline")
    write_marker(RunMarker("one", "local", Phase.RUNNING))
    assert find_pipeline(active) == Found("local"), "that nothing runs there is for the look to find"


def test_an_engine_that_does_not_say_what_is_running_lets_no_second_pipeline_start(docker: Docker) -> None:
    docker({"compose ps": "context deadline exceeded"})
    with pytest.raises(OperationError, match="context deadline exceeded"):
        claim.claim_pipeline("one", "auto")
    docker({"compose ps": "Cannot connect to the Docker daemon", "info": "Cannot connect to the Docker daemon"})
    assert claim.claim_pipeline("one", "auto") == "local"


@pytest.mark.parametrize(
    ("listed", "running"),
    [("", False), ("[]", False), ("null", False), (json.dumps([SINK]), True), (json.dumps(SINK), True)],
)
def test_the_lists_of_former_compose_versions_are_read(
    docker: Docker, tmp_path: Path, listed: str, running: bool
) -> None:
    """Before Compose 2.21 it was an array, and not an object a line."""
    docker({})
    (tmp_path / "containers").write_text(f"{listed}\n" if listed else "")
    assert compose.ComposeMode().is_running() == running
    assert [part.name for part in compose.ComposeMode().parts()] == (["p-sink-1"] if running else [])


@pytest.mark.parametrize("answer", ["", "Killed", '{"drained":'])
def test_a_warning_of_compose_is_not_part_of_what_is_left_to_drain(docker: Docker, tmp_path: Path, answer: str) -> None:
    docker({})
    (tmp_path / "config").write_text(json.dumps({"services": {"sink": {"environment": {}}}}) + "\n")
    (tmp_path / "drained").write_text(json.dumps({"drained": False, "waiting_for": ["3 open windows"]}) + "\n")
    assert compose.ComposeMode().left_to_drain() == ["3 open windows"]
    (tmp_path / "drained").write_text(f"{answer}\n")
    with pytest.raises(CommandError, match=rf"(?s)ended with exit code 1:.*{re.escape(answer)}.*variable is not set"):
        compose.ComposeMode().left_to_drain()


@pytest.fixture
def http_port() -> Iterator[int]:
    """A server with a healthy /health, whose /snapshot requires an IP address in the Host header."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            by_address = self.headers["Host"].startswith("127.0.0.1")
            self.send_response(200 if self.path == "/health" or (self.path == "/snapshot" and by_address) else 503)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_a_watched_pipeline_is_all_replicas_behind_a_name(http_port: int) -> None:
    assert list(replicas("localhost", http_port)) == [Part("localhost at 127.0.0.1", "localhost", "")]
    (closed,) = replicas("localhost", 1)
    assert "no answer" in closed.problem
    assert list(replicas("sink.invalid")) == [Part("sink.invalid", "sink.invalid", "no replica is running")]


def test_where_airflow_only_watches_no_pipeline_is_started(
    docker: Docker, monkeypatch: pytest.MonkeyPatch, http_port: int
) -> None:
    docker({})
    monkeypatch.setenv(LIVE_PAGE_SETTING, f"http://localhost:{http_port}")
    with pytest.raises(OperationError, match="only watches"):
        claim.claim_pipeline("one", "auto")
    assert find_pipeline(ended) == Found("watched")
    for nothing in ("http://127.0.0.1:1", "http://live.invalid:8080"):
        monkeypatch.setenv(LIVE_PAGE_SETTING, nothing)
        assert running_backend() is None
    # Without its live page it runs all the same.
    monkeypatch.setattr(watched, "_addresses_of", lambda service: ["10.0.0.2"] if service == "sink" else [])
    assert find_pipeline(ended) == Found("watched")


@pytest.mark.parametrize(
    ("setting", "containers", "outputs"),
    [
        (None, [], "file"),
        (None, [SINK | {"Service": "sink-database"}], "database,file"),
        (None, [SINK | {"Service": "sink-database", "State": "exited", "Health": "", "ExitCode": 1}], "database,file"),
        (None, [SINK | {"Service": "sink-database", "State": "exited", "Health": ""}], "file"),
        ("Database", [SINK], "database"),
    ],
)
def test_a_drain_does_not_wait_for_an_output_that_is_not_written(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, containers: list[object], outputs: str
) -> None:
    config = json.dumps({"services": {"sink": {"environment": {"SINK_OUTPUTS": setting}}}})
    listed = "".join(f"{json.dumps(each)}\n" for each in containers)
    monkeypatch.setattr(compose, "output_of", lambda command: config if "config" in command else listed)
    commands: list[list[str]] = []
    monkeypatch.setattr(compose, "drained_output", commands.append)
    compose.ComposeMode().left_to_drain()
    assert commands[0][-2:] == ["--outputs", outputs]


def test_broken_parts_of_a_watched_pipeline_are_reported_and_not_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    look = {"findings": [asdict(Finding("sink", BROKEN, "no replica is running", 5000.0))], "totals": {}}
    repair = RepairBroken(task_id="restart_broken", backend="watched", look=look)
    context: Any = {
        "params": {"max_restarts": 3},
        "ti": SimpleNamespace(try_number=1),
        "dag_run": SimpleNamespace(start_date=datetime.now(UTC)),
    }
    assert repair.execute(context) == look | {"tried": [], "gave_up": []}
