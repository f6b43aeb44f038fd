"""Finds the processes of a session whose command lines contain a folder: the programs of a supervisor that was killed."""
# ruff: noqa: S603, S607 - ps is found on the path

import contextlib
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Session:
    """A session by its leader, whose process id may be reused: at once after a boot, otherwise when the session is empty."""

    leader: int
    boot: str
    started: str

    @classmethod
    def led_by(cls, pid: int) -> Self:
        return cls(pid, _boot(), _start_of(pid))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The session whose ``str`` is ``text``; before 0.2 that was the process id alone. Raises ValueError for other texts."""
        leader, _, rest = text.partition("\n")
        boot, _, started = rest.partition("\n")
        return cls(int(leader), boot, started)

    def __str__(self) -> str:
        return f"{self.leader}\n{self.boot}\n{self.started}"

    def may_exist(self) -> bool:
        """Whether no other process leads a session of this id, as far as is known. The leader may have ended."""
        if not self.started:
            return True
        return self.boot == _boot() and _start_of(self.leader) in ("", self.started)


def session_members(session: Session, folders: Iterable[Path]) -> list[int]:
    """Process ids, the session's leader first; none of the own session, which is never a supervisor's.

    Another session may have had the same id. So the command lines are checked, too. Zombies have none and are not included.
    """
    if not session.may_exist() or session.leader == os.getsid(0):
        return []
    named = tuple(str(folder) for folder in folders)
    pids = [pid for pid, command in _commands().items() if any(name in command for name in named)]
    return sorted((pid for pid in pids if _session_of(pid) == session.leader), key=lambda pid: pid != session.leader)


def _boot() -> str:
    """Identifies the boot of this machine; the same for all boots if there is no /proc."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def _start_of(pid: int) -> str:
    """When the process was started; empty if there is none."""
    if Path("/proc/self/stat").exists():
        try:
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        except OSError:
            return ""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    environment = os.environ | {"TZ": "UTC", "LC_ALL": "C"}  # the same text in every time zone and language
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout.strip()


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
