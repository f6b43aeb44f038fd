"""A separate local-mode pipeline with its own folder and ports, controlled by the user's commands."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.commands import PIPELINE, project_environment
from bonus_airflow.tests.airflow_processes import HANGS_AFTER_S
from local.ports import free_block, free_ports
from local.settings import HTTP_PORTS

WINDOW_S = 5


class LocalPipeline:
    """``settings`` are the environment variables by which commands find it, and DAGs start it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.metrics = directory / "output" / "metrics.json"
        self.database = directory / "output" / "metrics.db"
        self.catalogue = directory / "catalogue.json"
        kafka_port, zookeeper_port = free_ports(2)
        self.settings = {
            "LOCAL_DIR": str(directory / "local"),
            "LOCAL_KAFKA_PORT": str(kafka_port),
            "LOCAL_ZOOKEEPER_PORT": str(zookeeper_port),
            "LOCAL_HTTP_PORT": str(free_block(HTTP_PORTS)),
            "SINK_OUTPUTS": "file,database",
            "SINK_OUTPUT_PATH": str(self.metrics),
            "SINK_DATABASE_URL": f"sqlite:///{self.database}",
            "PROCESSOR_CATALOGUE_PATH": str(self.catalogue),
            "WINDOW_SECONDS": str(WINDOW_S),
            "MAX_OUT_OF_ORDERNESS_SECONDS": "1",
            "IDLE_AFTER_SECONDS": "3",
            # Its JVMs live for minutes.
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }

    def make_empty(self) -> None:
        """Stop it, and forget its data."""
        self("down")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.metrics.parent.mkdir(parents=True)
        self.restore_catalogue()

    def restore_catalogue(self) -> None:
        shutil.copy(ROOT / "services" / "processor" / "catalogue.json", self.catalogue)

    def __call__(self, *arguments: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            [PIPELINE, *arguments],
            env=project_environment(self.settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANGS_AFTER_S,
            check=False,
        )
        assert done.returncode == exit_code, f"{arguments} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    @contextmanager
    def with_settings(self, **settings: str) -> Iterator[None]:
        """Inside the block, start with additional settings."""
        usual = self.settings
        self.settings = usual | settings
        try:
            yield
        finally:
            self.settings = usual

    def start(self, *arguments: str) -> None:
        self("up", "--detach", *arguments)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self("status", "--json", "--local"))
        return status

    def programs(self) -> dict[str, dict[str, Any]]:
        """The programs of ``status --json`` by name; empty if nothing runs."""
        return {each["name"]: each for each in self.status().get("programs", [])}

    def pids(self) -> dict[str, int]:
        return {name: each["pid"] for name, each in self.programs().items()}
