"""SIGTERM at any moment of a program's start ends it with exit code 0."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.services import ENTRY_FILES, HANGS_AFTER_S, ROOT

PROGRAMS = ENTRY_FILES | {"live": "live/__main__.py"}
ENTRY_PATHS = [pytest.param(ROOT / path, id=name) for name, path in PROGRAMS.items()]


# Runs the entry file named by the first argument; its look-ups of host names never end.
WITHOUT_NAME_SERVER = """
import runpy, socket, sys, threading
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs the command in its arguments with a SIGTERM that is blocked and pending.
WITH_PENDING_SIGTERM = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def started(command: Sequence[str | Path], folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that reaches no broker, killed at the end of the block."""
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SINK_OUTPUT_PATH": str(folder / "metrics.json"),
        "LIVE_PORT": "0",
        "LOG_FORMAT": "json",
    }
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | settings | env, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("entry", ENTRY_PATHS)
def test_a_signal_before_the_first_line_of_code(entry: Path, tmp_path: Path) -> None:
    with started([sys.executable, "-c", WITH_PENDING_SIGTERM, sys.executable, str(entry)], tmp_path) as process:
        assert process.wait(HANGS_AFTER_S) == 0


@pytest.mark.parametrize("entry", ENTRY_PATHS)
def test_a_signal_during_the_dns_lookup_of_the_broker(entry: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_NAME_SERVER, str(entry)]
    with started(command, tmp_path, KAFKA_BOOTSTRAP_SERVERS="kafka.example:9092") as process:
        assert process.stderr
        assert any(json.loads(line)["event"] == "service started" for line in process.stderr)
        process.terminate()
        assert process.wait(HANGS_AFTER_S) == 0


def instruction(dockerfile: Path, name: str) -> list[str]:
    line = next(line for line in dockerfile.read_text().splitlines() if line.startswith(f"{name} "))
    words = json.loads(line.removeprefix(f"{name} "))
    assert isinstance(words, list)
    return words


@pytest.mark.skipif(
    subprocess.run(["env", "--block-signal=TERM", "true"], capture_output=True, check=False).returncode != 0,
    reason="env of this machine cannot block signals",
)
def test_a_signal_during_the_entry_script_of_the_sinks_container(tmp_path: Path) -> None:
    dockerfile = ROOT / "services/sink/Dockerfile"
    commands = tmp_path / "commands"
    commands.mkdir()
    # The script's first command: here it sends the signal to the script.
    (commands / "id").write_text("#!/bin/sh\nkill -TERM $PPID\necho 1000\n")
    (commands / "id").chmod(0o755)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [*instruction(dockerfile, "ENTRYPOINT"), *instruction(dockerfile, "CMD")]
    with started(command, tmp_path, PATH=path) as process:
        assert process.wait(HANGS_AFTER_S) == 0
