"""Local mode as its users run it: the installed command `pipeline`, with ports and a folder of the test's own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.ports import free_block, free_ports, is_taken
from local.settings import HTTP_PORTS
from local.supervision import Supervisor
from tests.integration.services import HANGS_AFTER_S, ROOT, eventually

READY_S = HANGS_AFTER_S
COMMAND = [str(Path(sys.executable).with_name("pipeline"))]
"""The installed command."""


class Pipeline:
    """Calls the command with its own settings."""

    def __init__(self, directory: Path) -> None:
        self.metrics = directory / "metrics.json"
        self.supervisor = Supervisor(directory)
        kafka_port, zookeeper_port, unused_port = free_ports(3)
        http_port = free_block(HTTP_PORTS)
        self.ports = [kafka_port, zookeeper_port, http_port]
        self.env = os.environ | {
            "LOCAL_DIR": str(directory),
            "LOCAL_KAFKA_PORT": str(kafka_port),
            "LOCAL_ZOOKEEPER_PORT": str(zookeeper_port),
            "LOCAL_HTTP_PORT": str(http_port),
            "PIPELINE_KAFKA_PORT": str(unused_port),  # where Docker Compose is searched for
            "GENERATOR_FAULTS": "malformed=0.05",
            "SINK_OUTPUT_PATH": str(self.metrics),
            "WINDOW_SECONDS": "2",
            "MAX_OUT_OF_ORDERNESS_SECONDS": "1",
        }

    def __call__(self, *arguments: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=READY_S,
            check=False,
        )
        assert done.returncode == exit_code, f"{arguments} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def running(self) -> dict[str, int]:
        """Process ids of the running programs, by program, once none is starting and all of them respond."""
        deadline, rows = time.monotonic() + HANGS_AFTER_S, list[list[str]]()
        while True:
            # Supervisor calls a program RUNNING some seconds after its start, when it may long have responded.
            if not any(program.state == "STARTING" for program in self.supervisor.programs()):
                rows = [line.split(maxsplit=5) for line in self("status").splitlines()]
                running = [row for row in rows if row[1] == "RUNNING"]
                if all(row[-1] == "ok" for row in running) and not any(row[1] == "STARTING" for row in rows):
                    return {row[0]: int(row[2]) for row in running}
            assert time.monotonic() < deadline, f"no response within {HANGS_AFTER_S} s: {rows}"
            time.sleep(0.5)  # a command takes as much CPU time

    def has_closed_a_window(self) -> bool:
        return self.metrics.exists() and b"total_revenue" in self.metrics.read_bytes()


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline(tmp_path)
    yield pipeline
    pipeline("down")


def is_running(pid: int) -> bool:
    # It may end between the two calls: then its files in /proc are gone.
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b"" if Path("/proc/self").exists() else True
    return False


def live_page(output: str) -> bytes:
    """The response from the address that ``up`` has printed."""
    address = next(line for line in output.splitlines() if line.startswith("live page: ")).removeprefix("live page: ")
    with urllib.request.urlopen(address, timeout=HANGS_AFTER_S) as answer:
        return bytes(answer.read())


async def test_it_restarts_crashed_programs_scales_and_leaves_nothing_behind(pipeline: Pipeline) -> None:
    started = pipeline("up", "--detach", "--processors", "2", "--analytics", "1")
    assert b"<title>Order pipeline</title>" in live_page(started)
    first = pipeline.running()
    assert list(first) == [
        "zookeeper",
        "kafka",
        "generator",
        "processor-1",
        "processor-2",
        "analytics-1",
        "sink",
        "live",
    ]
    assert "is still running" in pipeline("up", "--detach", exit_code=1)
    await eventually(pipeline.has_closed_a_window, what="a window is closed and written")
    await commands_discover_the_pipeline(pipeline, first)

    for program in ("processor-2", "kafka"):
        os.kill(first[program], signal.SIGKILL)
    await eventually(lambda: pipeline.running().keys() == first.keys(), what="killed programs are restarted")
    healed = pipeline.running()
    assert {name for name in first if healed[name] != first[name]} == {"processor-2", "kafka"}

    pipeline("scale", "processor=3", "analytics=2")
    grown = pipeline.running()
    assert grown.items() > healed.items()
    assert grown.keys() - healed.keys() == {"processor-3", "analytics-2"}
    pipeline("scale", "processor=1")
    assert pipeline.running() == {
        name: pid for name, pid in grown.items() if name not in {"processor-2", "processor-3"}
    }
    assert "partition started" in pipeline("logs", "processor")

    pipeline("down")
    assert not [name for name, pid in (first | grown).items() if is_running(pid)]
    assert not [port for port in pipeline.ports if is_taken(port)]
    assert "no pipeline is running" in pipeline("status", exit_code=1)
    assert json.loads(pipeline("status", "--json")) == {"state": "stopped"}


async def commands_discover_the_pipeline(pipeline: Pipeline, running: dict[str, int]) -> None:
    """The command line has neither its address nor the window length nor the path of its file."""
    status = json.loads(pipeline("status", "--json"))
    assert (status["state"], status["context"]) == ("running", "local mode")
    assert {each["name"]: each["pid"] for each in status["programs"]} == running

    def has_dead_letters() -> bool:
        reasons: dict[str, object] = json.loads(pipeline("dead-letters", "list", "--json"))["reasons"]
        return reasons.keys() == {"malformed"}

    await eventually(has_dead_letters, what="the generator's faulty orders are dead letters")
    verified = json.loads(pipeline("verify", "--json"))
    assert verified["ok"]
    assert verified["lines"] > 0
    assert verified["dead_letters"]["malformed"] > 0
    assert json.loads(pipeline("metrics", "--json"))["total"]["order_count"] > 0


def test_single_services_are_stopped_restarted_and_drained_while_others_run(pipeline: Pipeline) -> None:
    """After draining, every sent order is in the file or a dead letter: as many as the generator has logged."""
    assert json.loads(pipeline("status", "--json")) == {"state": "stopped"}
    pipeline.env |= {"GENERATOR_RATE": "50", "GENERATOR_FAULTS": "0.1", "IDLE_AFTER_SECONDS": "3"}
    pipeline("up", "--detach", "--processors", "2", "--analytics", "2")
    before = pipeline.running()

    pipeline("restart", "processor-2", "sink")
    after = pipeline.running()
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} == {"processor-2", "sink"}
    pipeline("stop", "processor")
    status = json.loads(pipeline("status", "--json"))
    assert status["state"] == "running"
    programs = {each["name"]: each for each in status["programs"]}
    assert {name for name, each in programs.items() if each["state"] == "STOPPED"} == {"processor-1", "processor-2"}
    assert {each["health"] for name, each in programs.items() if not name.startswith("processor")} == {"ok"}
    pipeline("start", "processor-1")
    pipeline("stop", "analytics-2")
    assert "no program 'warehouse'" in pipeline("restart", "warehouse", exit_code=1)

    assert "waiting for" in pipeline("drain", "--timeout", "0", exit_code=1)
    assert pipeline("drain").endswith("drained\n")
    log = (pipeline.metrics.parent / "logs" / "generator.log").read_text().splitlines()
    summary = next(event for event in map(json.loads, log) if event["event"] == "all orders sent")
    lines = [json.loads(line) for line in pipeline.metrics.read_text().splitlines()]
    assert sum(line.get("order_count", 0) for line in lines) == summary["sent"] - summary["faulty"]
    assert pipeline.running().keys() == before.keys() - {"generator", "processor-2", "analytics-2"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_during_the_start_leaves_nothing_behind(pipeline: Pipeline, number: signal.Signals) -> None:
    """make forwards SIGTERM to processes that have already received it with their process group, so it arrives twice."""
    command = ["make", "--no-print-directory", "run"]
    up = subprocess.Popen(
        command, cwd=ROOT, env=pipeline.env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with up:
        assert up.stdout
        lines = [next(line for line in up.stdout if "zookeeper" in line)]
        os.killpg(up.pid, number)
        lines += up.stdout
    assert "stopped; nothing is left running\n" in lines
    assert not [port for port in pipeline.ports if is_taken(port)]
    assert "nothing is running" in pipeline("down")


def test_it_can_be_verified_and_stopped_from_another_terminal(pipeline: Pipeline) -> None:
    database = f"sqlite:///{pipeline.metrics.with_name('metrics.db')}"
    pipeline.env |= {"TOPIC_PREFIX": "mine.", "SINK_OUTPUTS": "file,database", "SINK_DATABASE_URL": database}
    up = subprocess.Popen([*COMMAND, "up"], env=pipeline.env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with up:
        assert up.stdout
        next(line for line in up.stdout if "closed" in line and "prod-" in line)
        # The other terminal has the folder, but none of the run's other settings.
        there = os.environ | {"LOCAL_DIR": pipeline.env["LOCAL_DIR"]}
        verified = subprocess.run(
            [*COMMAND, "verify", "--json"], env=there, stdout=subprocess.PIPE, timeout=READY_S, check=True
        )
        report = json.loads(verified.stdout)
        assert report["lines"] >= 1
        assert report["rows"] >= 1
        assert report["closed_windows"] >= 1
        pipeline("down")
        lines = list(up.stdout)
    assert up.returncode == 0
    assert lines[-1] == "the pipeline was stopped from elsewhere\n"
    assert any("| database " in line for line in lines), "it shows the progress of the database"


def test_the_error_for_a_taken_port_names_its_setting(pipeline: Pipeline) -> None:
    with socket.create_server(("127.0.0.1", pipeline.ports[0])):
        output = pipeline("up", "--detach", exit_code=1)
    assert f"port {pipeline.ports[0]}" in output
    assert "set LOCAL_KAFKA_PORT" in output
    assert "nothing is running" in pipeline("down")


@pytest.mark.parametrize("port", ["40000", "80", "kafka"])
def test_an_unusable_port_is_rejected(pipeline: Pipeline, port: str) -> None:
    pipeline.env["LOCAL_KAFKA_PORT"] = port
    assert f"LOCAL_KAFKA_PORT={port!r}: a port from 1024 to 32767" in pipeline("up", "--detach", exit_code=1)


def test_a_service_that_cannot_start_aborts_the_start(pipeline: Pipeline) -> None:
    pipeline.env["PROCESSOR_BATCH_SIZE"] = "none"
    assert "bad setting: PROCESSOR_BATCH_SIZE='none'" in pipeline("up", "--detach", exit_code=1)
    assert "nothing is running" in pipeline("down")
    pipeline("up", "--kafka-only")
    assert pipeline.running().keys() == {"zookeeper", "kafka"}
