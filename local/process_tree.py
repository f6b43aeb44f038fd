"""``python -m local.process_tree COMMAND ...`` runs a command, and ends all of its descendants when it ends.

SIGTERM and SIGHUP end the command with all its descendants, including session leaders and orphans, unless they are ignored, as
`nohup` does with SIGHUP. SIGINT, which a terminal sends to all of them, is left to the command.
"""
# ruff: noqa: S603 - this file starts programs

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from local.end_signals import end_signals

_GRACE_S = 10.0
_POLL_S = 0.05
_PR_SET_CHILD_SUBREAPER = 36


class _EndedBySignalError(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(command: Sequence[str]) -> int:
    """Run ``command``; returns its exit code, or 128 plus the signal's number."""
    adopt_orphans()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)  # unlike SIG_IGN, the command does not inherit that
    for number in end_signals():
        signal.signal(number, _ended_by_signal)
    try:
        exit_code = _wait_for(subprocess.Popen(command))
    except _EndedBySignalError as error:
        exit_code = 128 + error.number
    for number in end_signals():
        signal.signal(number, _ignored)
    end_descendants()
    return exit_code


def _wait_for(child: "subprocess.Popen[bytes]") -> int:
    """The exit code of ``child``; meanwhile adopted children are reaped when they end."""
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _ignored(_number: int, _frame: FrameType | None) -> None:
    return


def _ended_by_signal(number: int, _frame: FrameType | None) -> None:
    for each in end_signals():  # `timeout` and make may both send one
        signal.signal(each, _ignored)
    raise _EndedBySignalError(number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends (Linux only: PR_SET_CHILD_SUBREAPER)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants(grace_s: float = _GRACE_S) -> None:
    """Send SIGTERM to all descendants, and SIGKILL to those that still run after ``grace_s``.

    One whose parent ends first is no descendant any more, unless orphans are adopted: it is waited for all the same.
    """
    asked: set[int] = set()
    deadline_s = time.monotonic() + grace_s
    while pids := {*descendants()} | _running(asked):
        overdue = time.monotonic() > deadline_s
        for pid in pids:
            if overdue or pid not in asked:
                _send(pid, signal.SIGKILL if overdue else signal.SIGTERM)
        asked = pids
        _reap()
        time.sleep(_POLL_S)


def descendants() -> Iterator[int]:
    """The process ids of all descendants of this process, except zombies."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    waiting = [os.getpid()]
    while waiting:
        found = children.get(waiting.pop(), [])
        waiting += found
        yield from found


def _running(pids: set[int]) -> set[int]:
    """Those of ``pids`` that still run."""
    return pids & {pid for pid, _ in _processes()} if pids else set()


def _processes() -> Iterator[tuple[int, int]]:
    """The parent of each process that is not a zombie."""
    if not Path("/proc/self/stat").exists():
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)  # noqa: S607
        for line in listing.stdout.splitlines():
            pid, parent, state = line.split()
            if not state.startswith("Z"):
                yield int(pid), int(parent)
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if state != "Z":
                yield int(entry.name), int(parent)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
