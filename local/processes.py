"""The processes of one session whose command lines name a folder: what a supervisor that was killed has left behind."""
# ruff: noqa: S607 - ps is where the system has it

import contextlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path


def session_members(session: int, folders: Iterable[Path]) -> list[int]:
    """Process ids, the session's leader first.

    A process id may be given to another program later, and a session's is its leader's: hence the look at the command
    lines. Zombies have none and are not listed.
    """
    named = tuple(str(folder) for folder in folders)
    pids = [pid for pid, command in _commands().items() if any(name in command for name in named)]
    return sorted((pid for pid in pids if _session_of(pid) == session), key=lambda pid: pid != session)


def _commands() -> dict[int, str]:
    if Path("/proc/self/cmdline").exists():  # a slim Debian has no ps
        commands = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):  # ended in between
                    commands[int(entry.name)] = os.fsdecode((entry / "cmdline").read_bytes())
        return commands
    listing = subprocess.run(["ps", "-A", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    fields = (line.strip().partition(" ") for line in listing.splitlines())
    return {int(pid): command for pid, _, command in fields}


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
