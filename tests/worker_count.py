"""How many test files run at the same time, by the speed of the machine."""

import os
import subprocess
import sys

_MANY = 6
_FEW = 1
# Two cores of one host did 17 million. With half a core of it, 4.3 million, two pipelines at the same time were so slow that waits
# reached their limits. Half a core of a faster host did 5.0 million.
_ENOUGH_ROUNDS_PER_S = 8_000_000
_COUNT_ROUNDS = """
import time
rounds = 0
end_s = time.perf_counter() + 1
while time.perf_counter() < end_s:
    rounds += 1
print(rounds)
"""


def worker_count(rounds_per_s: int) -> int:
    """Six, since tests wait for most of their time; one on a machine that is slow or busy."""
    return _MANY if rounds_per_s >= _ENOUGH_ROUNDS_PER_S else _FEW


def measure_rounds_per_s() -> int:
    """The rounds of a short loop that all CPUs together do in a second, beside everything else that runs now."""
    loops = [
        subprocess.Popen([sys.executable, "-c", _COUNT_ROUNDS], stdout=subprocess.PIPE) for _ in os.sched_getaffinity(0)
    ]
    return sum(int(loop.communicate()[0]) for loop in loops)
