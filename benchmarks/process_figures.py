"""Reads a process's CPU time and peak memory from /proc (Linux)."""

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int, *, ended_too: bool = False) -> float:
    """CPU time of a process, with ``ended_too`` including its ended children; 0 if the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended_too else 13])) / _TICKS_PER_S


def peak_bytes(pid: int) -> int:
    """Peak resident memory (VmHWM); raises ``OSError`` if the process has ended, ``IndexError`` while it ends."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
