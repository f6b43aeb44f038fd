"""One pipeline for all compose tests: building, starting and stopping it is most of the time that they take."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.ports import free_ports
from tests.compose.project import ROOT, Project, engine_problem

# Short windows and no history longer than needed: a test waits for the last window to close.
SETTINGS = {
    "WINDOW_SECONDS": "5",
    "MAX_OUT_OF_ORDERNESS_SECONDS": "2",
    "IDLE_AFTER_SECONDS": "2",
    "GENERATOR_RATE": "200",
    "GENERATOR_FAULTS": "0.02",
    "GENERATOR_BACKFILL_SECONDS": "120",
    "GENERATOR_COUNT": "",
    "TOPIC_PREFIX": "",
    "TOPIC_PARTITIONS": "",
    "LOG_LEVEL": "info",
}


USER = 1000  # who owns the output folder where the tests run as root


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Project]:
    """The real thing, three processors and two analytics, writing into a folder of a normal user's."""
    if problem := engine_problem():
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1, but {problem}")
        pytest.skip(f"no Docker engine with Compose v2: {problem}")
    # Not under pytest's own folder, which no other user may enter.
    output = Path(tempfile.mkdtemp(prefix="pipeline-output-"))
    if os.geteuid() == 0:
        os.chown(output, USER, USER)
    project = Project(f"pipeline-test-{os.getpid()}", free_ports(1)[0], output, SETTINGS)
    try:
        project.compose("up", "--build", "--detach", "--scale", "processor=3", "--scale", "analytics=2", timeout_s=420)
        yield project
        # pytest shows it when the last test failed.
        print(project.compose("logs", "--no-color", "--tail", "80"))  # noqa: T201
    finally:
        project.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "1")
        shutil.rmtree(output)


def verify(project: Project, metrics: Path) -> subprocess.CompletedProcess[str]:
    """Hold the topics and the file ``metrics`` against what `orders` demands, once every window has closed."""
    where = ["--bootstrap", project.bootstrap, "--output", str(metrics)]
    windows = ["--window-seconds", project.settings["WINDOW_SECONDS"], "--wait-closed", "90"]
    return subprocess.run(
        [sys.executable, "-m", "verification", *where, *windows],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
