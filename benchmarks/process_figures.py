"""What the kernel says of a process: its CPU time and the most memory that it has had (Linux)."""

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int, *, ended_too: bool = False) -> float:
    """CPU time of a process; ``ended_too``: with that of its children that have ended. 0 if it has."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended_too else 13])) / _TICKS_PER_S


def peak_bytes(pid: int) -> int:
    """The most memory resident since its start (VmHWM); raises ``OSError`` if it has ended, ``IndexError`` while it ends."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
