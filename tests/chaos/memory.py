"""The resident memory of a process."""

import os
import subprocess
from pathlib import Path


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10**6 bytes); 0 if the process has ended."""
    try:
        if Path("/proc/self/statm").exists():  # a slim Debian has no ps
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        listing = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return int(listing.stdout) * 1024 / 1e6
    except (OSError, ValueError):
        return 0.0
