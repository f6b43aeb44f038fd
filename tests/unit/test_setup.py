"""local/setup.sh, with a Python that only pretends to install."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_HANGS_AFTER_S = 600.0

# The first call asks for the version; pip opens the pipe when it runs, and closes it when it has ended.
PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then exit 0; fi
exec 3>pip
echo started >&3
exec sleep 600
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_pip_behind(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "local").mkdir()
    shutil.copy(ROOT / "local" / "setup.sh", tmp_path / "local")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    os.mkfifo(tmp_path / "pip")

    def with_default_signals() -> None:  # as in a terminal's foreground
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)

    setup = subprocess.Popen(
        ["sh", "local/setup.sh"],
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=with_default_signals,  # noqa: PLW1509 - it takes no locks
    )
    try:
        with (tmp_path / "pip").open() as pip:
            assert pip.readline() == "started\n"
            os.killpg(setup.pid, number)
            assert setup.wait() == 143
            ended, *_ = select.select([pip], [], [], _HANGS_AFTER_S)
            assert ended, "pip is still running"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(setup.pid, signal.SIGKILL)
