"""When a started pipeline counts as ready."""

from collections.abc import Callable
from pathlib import Path

import pytest

from local import readiness, startup
from local.errors import LocalModeError
from local.settings import LocalSettings
from local.startup import wait_until_ready
from local.supervision import Program, Supervisor

Life = Callable[[float], Program]
"""What the supervisor says about a program, by the seconds since the start."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Lives(Supervisor):
    def __init__(self, directory: Path, clock: Clock, lives: list[Life]) -> None:
        super().__init__(directory)
        self._clock = clock
        self._lives = lives

    def programs(self) -> list[Program]:
        return [life(self._clock.now) for life in self._lives]


def program(name: str, state: str, pid: int, exit_code: int = 0) -> Program:
    return Program(name, state, pid, 0, exit_code)


def running(name: str, from_s: float = 0.0) -> Life:
    return lambda now: program(name, "RUNNING" if now >= from_s else "STARTING", 1)


def restarted_at(at_s: float) -> Life:
    """It is started again between two looks."""
    return lambda now: program("processor-1", "RUNNING", 7 if now < at_s else 8)


def ended_from(at_s: float, exit_code: int = 1) -> Life:
    return lambda now: (
        program("processor-1", "RUNNING", 7) if now < at_s else program("processor-1", "EXITED", 0, exit_code)
    )


def restarted_by_a_command(now: float) -> Program:
    states = [program("processor-1", "RUNNING", 7), program("processor-1", "STOPPING", 7)]
    return states[int(now)] if now < len(states) else program("processor-1", "RUNNING", 8)


@pytest.fixture
def wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def wait(*lives: Life, before: tuple[str, ...] = ()) -> list[str]:
        clock = Clock()
        monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
        monkeypatch.setattr(startup, "time", clock)
        monkeypatch.setattr(readiness, "health_of", lambda _: "ok")
        lines: list[str] = []
        wait_until_ready(LocalSettings.from_environment(), Lives(tmp_path, clock, [*lives]), lines.append, before)
        return [line.split()[0] for line in lines]

    return wait


@pytest.mark.parametrize(
    "life", [restarted_at(3.5), ended_from(3.5), ended_from(6.0)], ids=["restarted", "ended", "ended after all others"]
)
def test_a_service_that_ends_after_it_was_healthy_has_failed(wait: Callable[..., list[str]], life: Life) -> None:
    with pytest.raises(LocalModeError, match="processor-1 failed"):
        wait(life, running("live", from_s=5.0))


@pytest.mark.parametrize("life", [ended_from(0.5, exit_code=0), restarted_by_a_command, running("sink", from_s=3.0)])
def test_other_services_are_waited_for_and_reported_once(wait: Callable[..., list[str]], life: Life) -> None:
    assert sorted(wait(life, running("live"))) == sorted([life(0).name, "live"])


def test_programs_that_ran_before_are_not_looked_at(wait: Callable[..., list[str]]) -> None:
    assert wait(ended_from(0.0), running("live"), before=("processor-1",)) == ["live"]
