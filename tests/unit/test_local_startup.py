"""What stops a start in local mode before anything is started."""

import math
import re
from pathlib import Path

import pytest

from local import commands, programs, startup
from local.errors import LocalModeError
from local.programs import supervisor_config
from local.settings import LocalSettings
from local.startup import start
from local.supervision import Supervisor
from services.sink.file.metrics_file import MetricsFile
from watch import view
from watch.kafka_view import TopicsMissingError


class StartedError(Exception):
    """Nothing has stopped the start."""


def start_in(folder: Path, monkeypatch: pytest.MonkeyPatch, output: Path, outputs: str = "file") -> None:
    def started(*_: object) -> None:
        raise StartedError

    monkeypatch.setenv("LOCAL_DIR", str(folder))
    monkeypatch.setenv("SINK_OUTPUTS", outputs)
    monkeypatch.setenv("SINK_OUTPUT_PATH", str(output))
    monkeypatch.setattr(startup, "libs_of", lambda _: folder)
    monkeypatch.setattr(startup, "is_taken", lambda _: False)
    monkeypatch.setattr(startup, "supervisor_config", started)
    start(LocalSettings.from_environment(), Supervisor(folder), {"processor": 1, "analytics": 1}, print)


def test_kafka_can_be_started_without_any_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a recomputation where the processor refuses to start."""
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setattr(programs, "libs_of", lambda _: tmp_path)
    config = supervisor_config(LocalSettings.from_environment(), {}, tmp_path / "socket")
    assert re.findall(r"\[program:(.*)\]", config) == ["zookeeper", "kafka"]


def test_the_view_of_a_run_outlives_the_topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pipeline recompute` deletes them, and needs the broker that the end of the view would stop."""
    processes: list[int] = []

    async def follow(*_: object, topics_within_s: float) -> None:
        processes.clear()  # as `pipeline down` does
        if topics_within_s < math.inf:
            raise TopicsMissingError(["orders-dlq"])

    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setattr(view, "observe_until_cancelled", follow)
    monkeypatch.setattr(Supervisor, "processes", lambda _: processes)
    monkeypatch.setattr(commands, "start", lambda *_: processes.append(1))
    monkeypatch.setattr(commands, "wait_until_ready", lambda *_: None)
    assert commands.up(1, 1, detach=False) == 0


def test_a_second_pipeline_does_not_wait_for_the_metrics_file_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "output" / "metrics.json"
    first = MetricsFile(output, "product-metrics")
    with pytest.raises(StartedError):  # the folder does not exist yet
        start_in(tmp_path, monkeypatch, output)
    assert first.acquire()
    with pytest.raises(LocalModeError, match=r"metrics\.json") as refused:
        start_in(tmp_path, monkeypatch, output)
    assert "SINK_OUTPUT_PATH" in refused.value.advice
    with pytest.raises(StartedError):
        start_in(tmp_path, monkeypatch, output, "database")
    first.close()
    with pytest.raises(StartedError):
        start_in(tmp_path, monkeypatch, output)
    assert first.acquire(), "the check has left the file locked"
    first.close()
