"""Freed memory is reused without returning it to the system."""

import platform
import subprocess
import sys

import pytest

_ROUNDS = 50
_USE = f"""
import resource
from libs.runtime.service.memory import keep_freed_memory
{{keep}}
faults = []
for _ in range({_ROUNDS}):
    buffers = [b"x" * (1 << 20) for _ in range(8)]  # 2,048 pages
    del buffers
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


def page_faults(keep: str) -> int:
    result = subprocess.run([sys.executable, "-c", _USE.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be configured to keep freed memory")
def test_large_buffers_cost_page_faults_once() -> None:
    assert page_faults("") > 2048 * (_ROUNDS - 2)
    assert page_faults("keep_freed_memory()") < 2048
