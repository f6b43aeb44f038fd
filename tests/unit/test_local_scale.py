"""`pipeline scale`, with a supervisor whose programs are known."""

from types import SimpleNamespace

import pytest

from local import commands
from local.errors import LocalModeError
from local.settings import LocalSettings
from local.supervision import Program


def test_nothing_is_scaled_while_only_kafka_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other services would be missing."""
    programs = [Program(name, "RUNNING", 1, 0, 0) for name in ("zookeeper", "kafka")]
    monkeypatch.setattr(commands, "running_supervisor", lambda: SimpleNamespace(programs=lambda: programs))
    monkeypatch.setattr(LocalSettings, "of_running", lambda: None)
    with pytest.raises(LocalModeError, match="no service is running"):
        commands.scale({"processor": 2})
