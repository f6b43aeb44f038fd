"""Finds the processes of a session whose command lines contain a folder: the programs of a supervisor that was killed."""
# ruff: noqa: S607 - ps is found on the path

import contextlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path


def session_members(session: int, folders: Iterable[Path]) -> list[int]:
    """Process ids, the session's leader first.

    A session's id is the process id of its leader, which may be reused later. So the command lines are checked, too. Zombies
    have none and are not included.
    """
    named = tuple(str(folder) for folder in folders)
    pids = [pid for pid, command in _commands().items() if any(name in command for name in named)]
    return sorted((pid for pid in pids if _session_of(pid) == session), key=lambda pid: pid != session)


def _commands() -> dict[int, str]:
    if Path("/proc/self/cmdline").exists():  # a slim Debian has no ps
        commands = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):  # it has ended meanwhile
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
