"""The local-mode backend while no pipeline is running, and what it makes of a program's state."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bonus_airflow.operations.errors import CommandError, OperationError
from bonus_airflow.operations.local_mode import LocalMode, part_of


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


@pytest.mark.parametrize(
    ("service", "state", "up_s", "is_starting"),
    [
        ("kafka", "RUNNING", 60, True),
        ("zookeeper", "RUNNING", 60, True),
        ("kafka", "RUNNING", 151, False),
        ("kafka", "BACKOFF", 1, False),
        ("sink", "RUNNING", 60, False),
    ],
)
def test_only_kafka_and_zookeeper_may_take_long_to_start(
    service: str, state: str, up_s: float, is_starting: bool
) -> None:
    """A restart would begin the recovery of Kafka's log anew."""
    program = {"name": service, "service": service, "state": state, "health": "no answer", "started_at_s": 1000}
    part = part_of(program, 1000 + up_s)
    assert part.problem
    assert part.is_starting == is_starting
