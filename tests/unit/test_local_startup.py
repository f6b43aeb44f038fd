"""What stops a start in local mode before anything is started."""

from pathlib import Path

import pytest

from local import startup
from local.errors import LocalModeError
from local.settings import LocalSettings
from local.startup import start
from local.supervision import Supervisor
from services.sink.file.metrics_file import MetricsFile


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
