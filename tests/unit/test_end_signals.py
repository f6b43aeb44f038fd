"""The hang-up of a terminal ends a command, unless it was started with `nohup`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands.local_mode import end_as_ctrl_c_does

ROOT = Path(__file__).resolve().parents[2]
HANGS_UP = "import os, signal, sys; os.kill(os.getppid(), signal.SIGHUP); sys.exit(7)"


@pytest.fixture(autouse=True)
def _restored_handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_command_of_local_mode_keeps_a_hang_up_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_as_ctrl_c_does()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert callable(signal.getsignal(signal.SIGTERM))


def test_a_command_of_local_mode_ends_at_a_hang_up() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    end_as_ctrl_c_does()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)


@pytest.mark.parametrize(("handler", "exit_code"), [(signal.SIG_IGN, 7), (signal.SIG_DFL, 128 + signal.SIGHUP)])
def test_a_process_tree_outlives_a_hang_up_only_if_it_is_ignored(handler: signal.Handlers, exit_code: int) -> None:
    signal.signal(signal.SIGHUP, handler)  # which the command inherits
    command = [sys.executable, "-m", "local.process_tree", sys.executable, "-c", HANGS_UP]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == exit_code
