"""One pipeline for all Compose tests, since building, starting and stopping it takes most of their time."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.ports import free_ports
from tests.compose.container_cleanup import project_name
from tests.compose.project import ROOT, Project, require_engine
from tests.compose.prometheus import Prometheus
from tests.compose.short_alert_rules import write_shortened
from tests.integration.services import HANGS_AFTER_S

# Short windows and a short history, since a test waits for the last window to close.
SETTINGS = {
    "WINDOW_SECONDS": "5",
    "MAX_OUT_OF_ORDERNESS_SECONDS": "2",
    "IDLE_AFTER_SECONDS": "2",
    "GENERATOR_RATE": "10",
    "GENERATOR_FAULTS": "0.02",
    "GENERATOR_BACKFILL_SECONDS": "120",
    "GENERATOR_COUNT": "",
    "GENERATOR_RESTART": "",
    "PROCESSOR_CATALOGUE_PATH": "",
    "LOG_FORMAT": "",
    "TOPIC_PREFIX": "",
    "TOPIC_PARTITIONS": "",
    "LOG_LEVEL": "info",
}


USER = 1000  # the owner of the output folder if the tests run as root

# The services and their replicas. Of the monitoring profile only Prometheus, whose data is tested; the lag also comes from
# `live`.
REPLICAS = {
    "zookeeper": 1,
    "kafka": 1,
    "generator": 1,
    "processor": 3,
    "analytics": 2,
    "sink": 1,
    "live": 1,
    "prometheus": 1,
}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Project]:
    """The complete stack with three processors and two analytics, writing into a folder of an unprivileged user."""
    require_engine()
    # Not in pytest's folder, which other users cannot access.
    directory = Path(tempfile.mkdtemp(prefix="pipeline-test-"))
    directory.chmod(0o755)
    output = directory / "output"
    output.mkdir()
    if os.geteuid() == 0:
        os.chown(output, USER, USER)
    kafka_port, prometheus_port, live_port = free_ports(3)
    settings = SETTINGS | {
        "PIPELINE_PROMETHEUS_PORT": str(prometheus_port),
        "PIPELINE_LIVE_PORT": str(live_port),
        "COMPOSE_PROFILES": "monitoring,tools",  # or `down` would leave Prometheus and the command's image
        "PROMETHEUS_CONFIG_DIR": str(_impatient_prometheus(directory)),
    }
    project = Project(project_name("pipeline"), kafka_port, output, settings)
    scale = [argument for service, count in REPLICAS.items() for argument in ("--scale", f"{service}={count}")]
    with project.up(*REPLICAS, directory=directory, options=scale):
        yield project


def _impatient_prometheus(directory: Path) -> Path:
    """A folder with Prometheus' shortened configuration, readable by its owner only, as in a checkout with umask 077."""
    config = directory / "prometheus"
    config.mkdir()
    write_shortened(config)
    for file in config.iterdir():
        file.chmod(0o600)
    config.chmod(0o700)
    return config


@pytest.fixture(scope="module")
def prometheus(pipeline: Project) -> Prometheus:
    """The pipeline's Prometheus."""
    return Prometheus(int(pipeline.settings["PIPELINE_PROMETHEUS_PORT"]))


def verify(project: Project, metrics: Path) -> subprocess.CompletedProcess[str]:
    """Verify the topics and the file ``metrics`` against `orders`, once all windows are closed."""
    where = ["--bootstrap", project.bootstrap, "--output", str(metrics)]
    windows = ["--window-seconds", project.settings["WINDOW_SECONDS"], "--wait-closed", str(HANGS_AFTER_S)]
    return subprocess.run(
        [sys.executable, "-m", "cli", "verify", *where, *windows],
        cwd=ROOT,
        env=os.environ | {"TOPIC_PREFIX": project.settings["TOPIC_PREFIX"]},
        capture_output=True,
        text=True,
        timeout=2 * HANGS_AFTER_S,
        check=False,
    )
