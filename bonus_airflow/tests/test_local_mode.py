"""The local-mode backend while no pipeline is running."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bonus_airflow.operations.errors import CommandError, OperationError
from bonus_airflow.operations.local_mode import LocalMode


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))


@pytest.mark.parametrize("question", [LocalMode.parts, LocalMode.left_to_drain, LocalMode.snapshot])
def test_questions_about_a_stopped_pipeline_are_errors(question: Callable[[LocalMode], object]) -> None:
    assert not LocalMode().is_running()
    with pytest.raises(OperationError, match="local mode is stopped: `make run` starts it"):
        question(LocalMode())


def test_another_pipeline_is_never_verified_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(CommandError, match="no pipeline is running in"):
        LocalMode().verify()
