"""How many test files run at the same time, by the speed of the machine."""

import os
import subprocess
import sys

_MOST = 6
# More files at the same time do not end sooner on a slow machine, which is busy all the time, and waits reach their limits. Two cores
# of one host did 17 million rounds: six files pass. Those of a slow one did 8 to 11 million: three and four pass. With half a core,
# 4.3 to 5.0 million, two did not pass.
_ROUNDS_PER_S_OF_EACH = 2_800_000
_MEASUREMENTS = 3
_SECONDS = 1.0
_COUNT_ROUNDS = """
import sys, time
rounds = 0
end_s = time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < end_s:
    rounds += 1
print(rounds)
"""


def worker_count(rounds_per_s: int) -> int:
    """One to six, in proportion to the speed."""
    return min(max(rounds_per_s // _ROUNDS_PER_S_OF_EACH, 1), _MOST)


def measure_rounds_per_s() -> int:
    """The rounds of a short loop that all CPUs together do in a second, beside everything else that runs now.

    The highest of three measurements, since a virtual machine may stand still for a moment.
    """
    return max(_measure() for _ in range(_MEASUREMENTS))


def _measure() -> int:
    loops = [
        subprocess.Popen([sys.executable, "-c", _COUNT_ROUNDS, str(_SECONDS)], stdout=subprocess.PIPE)
        for _ in os.sched_getaffinity(0)
    ]
    return round(sum(int(loop.communicate()[0]) for loop in loops) / _SECONDS)
