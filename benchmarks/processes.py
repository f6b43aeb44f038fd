"""Starts, kills and measures a contender's processes, through /proc."""
# ruff: noqa: S603 - this file starts programs

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
STOP_S = 10.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """The CPU time that processes have used so far, and their current memory."""

    cpu_s: float
    rss_bytes: int


class Program:
    """One process of a contender, in its own session; it can be killed and restarted.

    Args:
        command: the command to start.
        env: added to this process's environment.
        cores: the cores that it may use.
        log: the file of its output; a restart appends to it.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cores: Iterable[int], log: Path) -> None:
        # The process ends when this program ends, however it ends.
        pinned = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", ",".join(map(str, sorted(cores)))]
        self._command = [*pinned, *command]
        self._env = {**os.environ, **env}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu_by_pid: dict[int, float] = {}

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def pids(self) -> list[int]:
        """The ids of the process and all of its descendants."""
        if self._process is None or self._process.poll() is not None:
            return []
        return list(_tree(self._process.pid))

    def usage(self) -> Usage:
        """CPU time since the first start, including ended processes."""
        rss_bytes = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self._cpu_by_pid[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
                rss_bytes += int(fields[21]) * _PAGE_BYTES
        return Usage(sum(self._cpu_by_pid.values()), rss_bytes)

    def kill(self) -> None:
        """Send SIGKILL to all of its processes."""
        assert self._process is not None
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it does not end within 10 s."""
        if self._process is None:
            return
        self._process.terminate()
        deadline = time.monotonic() + STOP_S
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self.kill()

    def wait(self, timeout_s: float) -> None:
        """Wait for its end; raises ``subprocess.TimeoutExpired``."""
        assert self._process is not None
        self._process.wait(timeout_s)

    def tail(self, lines: int = 15) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _tree(pid: int) -> Iterable[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
