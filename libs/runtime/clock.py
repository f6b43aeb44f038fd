"""The wall clock, injected wherever behaviour depends on time, so that tests can set it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in epoch seconds."""

    def now_s(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.time()
