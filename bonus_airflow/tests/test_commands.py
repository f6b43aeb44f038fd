"""Tests of running commands and parsing their output."""

import logging
import sys

import pytest

from bonus_airflow.operations.commands import output_of, project_environment, run_command
from bonus_airflow.operations.compose import part_of
from bonus_airflow.operations.errors import CommandError
from bonus_airflow.operations.parts import Part


def test_each_line_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_command([sys.executable, "-c", "print('one'); import sys; print('two', file=sys.stderr)"])
    assert {"one", "two"} <= {record.message for record in caplog.records}


def test_a_failure_has_the_last_lines_and_the_exit_code() -> None:
    with pytest.raises(CommandError, match=r"(?s)ended with exit code 3:.*line 99$") as raised:
        run_command([sys.executable, "-c", "for i in range(100): print('line', i)\nraise SystemExit(3)"])
    assert raised.value.exit_code == 3
    assert "line 79" not in str(raised.value)


def test_a_command_that_hangs_or_is_not_there_is_an_error() -> None:
    with pytest.raises(CommandError, match=r"not done within 0 s"):
        output_of(["sleep", "60"], timeout_s=0.1)
    with pytest.raises(CommandError, match="no-such-program"):
        output_of(["no-such-program"])


def test_a_command_sees_the_users_environment_without_airflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("WINDOW_SECONDS", "10")
    environment = project_environment({"GENERATOR_RATE": "5"})
    assert environment["WINDOW_SECONDS"] == "10"
    assert environment["GENERATOR_RATE"] == "5"
    assert not [name for name in environment if name.startswith(("AIRFLOW", "PYTHON"))]


@pytest.mark.parametrize(
    ("state", "health", "exit_code", "problem", "is_stopped"),
    [
        ("running", "healthy", 0, "", False),
        ("running", "unhealthy", 0, "unhealthy: unhealthy", False),
        ("restarting", "", 1, "restarting, last exit code 1", False),
        ("exited", "", 137, "exited, last exit code 137", False),
        ("exited", "", 0, "", True),
        ("exited", "", 143, "", True),
    ],
)
def test_a_container_is_parsed_from_compose_output(
    state: str, health: str, exit_code: int, problem: str, is_stopped: bool
) -> None:
    told = {"Name": "p-sink-1", "Service": "sink", "State": state, "Health": health, "ExitCode": exit_code}
    assert part_of(told) == Part("p-sink-1", "sink", problem, is_stopped)


@pytest.mark.parametrize(
    ("state", "health", "problem"),
    [("running", "starting", "starting"), ("created", "", "created, and not started yet")],
)
def test_a_container_that_starts_is_told_from_one_that_is_unhealthy(state: str, health: str, problem: str) -> None:
    told = {"Name": "p-kafka-1", "Service": "kafka", "State": state, "Health": health, "ExitCode": 0}
    assert part_of(told) == Part("p-kafka-1", "kafka", problem, is_starting=True)
