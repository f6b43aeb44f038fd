import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from local import program_control
from local.settings import LocalSettings
from tests.integration.services import ROOT
from watch.remaining_work import RemainingWork

TWO_LINES = """
import sys
from libs.report_line import exit_code_after_output, report_line
report_line("first")
report_line("second")
sys.exit(exit_code_after_output(3))
"""


def run_with_closed_output(program: str) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)


def test_a_program_whose_output_is_closed_ends_with_its_own_exit_code() -> None:
    done = run_with_closed_output(TWO_LINES)
    assert (done.returncode, done.stderr) == (3, "")


def test_output_that_does_not_fit_on_the_disk_is_a_failure() -> None:
    program = "import sys; from libs.report_line import exit_code_after_output as code; print('x'); sys.exit(code(0))"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_lines_are_written_at_once() -> None:
    program = 'import os; from libs.report_line import report_line; report_line("a line"); os._exit(0)'
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "a line\n"


class StoppedPrograms:
    """A supervisor of one program; remembers what was stopped."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def programs(self) -> list[Any]:
        return [cast(Any, type("Program", (), {"name": "generator", "state": "RUNNING"}))]

    def stop(self, names: list[str], _: float) -> None:
        self.stopped += names


@contextlib.contextmanager
def closed_output(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as output:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", output)
        yield
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def test_programs_are_stopped_though_the_terminal_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = StoppedPrograms()
    monkeypatch.setattr(program_control, "running_supervisor", lambda: supervisor)
    with closed_output(monkeypatch):
        assert program_control.stop(["generator"]) == 0
    assert supervisor.stopped == ["generator"]


def test_a_drain_waits_until_its_end_though_the_terminal_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(_: object, timeout_s: float, report: Callable[[str], None]) -> RemainingWork:
        report("waiting for sink to read 1 records")
        return RemainingWork([f"sink to read 1 records after {timeout_s} s"], 0)

    monkeypatch.setattr(program_control, "running_supervisor", StoppedPrograms)
    monkeypatch.setattr(program_control, "wait_until_drained", wait)
    monkeypatch.setattr(LocalSettings, "of_running", lambda: None)
    monkeypatch.setattr(program_control, "_endpoints", lambda *_: None)
    with closed_output(monkeypatch):
        assert program_control.drain(5.0) == 1
