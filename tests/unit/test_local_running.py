"""A supervisor that runs, but does not answer; and none at all, while Docker Compose may run."""

import os
import signal
from pathlib import Path

import pytest

from local import commands, running, shutdown
from local.errors import LocalModeError, SilentSupervisorError
from local.processes import Session
from local.running import running_supervisor
from local.supervision import Supervisor

LEADER, PROGRAM = 4_000_001, 4_000_002


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found = [LEADER, PROGRAM]
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setattr(Supervisor, "session", lambda _: Session(LEADER, "boot", "1"))
    monkeypatch.setattr(Supervisor, "processes", lambda _: found)
    return found


def of_another_user(_pid: int, _number: int) -> None:
    raise PermissionError


def test_it_has_ended_only_if_its_process_has(processes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(running, "_STARTS_WITHIN_S", 0.0)
    with pytest.raises(SilentSupervisorError, match="does not answer"):
        running_supervisor()
    processes.remove(LEADER)
    with pytest.raises(LocalModeError, match="the supervisor has ended"):
        running_supervisor()


@pytest.mark.usefixtures("processes")
def test_one_that_has_just_been_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True])
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(Supervisor, "answers", lambda _: next(answers))
    assert isinstance(running_supervisor(), Supervisor)


def test_without_one_the_commands_of_docker_compose_are_named(processes: list[int]) -> None:
    processes.clear()
    with pytest.raises(LocalModeError, match="no pipeline is running") as none:
        running_supervisor()
    assert "`docker compose stop SERVICE`" in none.value.advice
    with pytest.raises(LocalModeError, match="no log of 'processor'") as none:
        commands.logs("processor", 10, follow=False)
    assert "`docker compose logs SERVICE`" in none.value.advice


@pytest.mark.usefixtures("processes")
def test_it_may_be_that_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", of_another_user)
    with pytest.raises(SilentSupervisorError, match="belongs to another user"):
        running_supervisor()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(LocalModeError, match="belongs to another user"):
        shutdown.stop(Supervisor(tmp_path), print)
