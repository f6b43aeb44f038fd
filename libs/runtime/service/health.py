"""Whether a service makes progress or is truly idle.

Liveness asks less: whether the event loop turns. A service that waits for its broker is unhealthy and alive; to start it
again would not help.
"""

import asyncio
import threading
import time
from collections.abc import Callable

from libs.runtime.timing import HEALTHY_FOR_S, LOOP_ALIVE_FOR_S

_LOOP_LOOKED_AT_EVERY_S = 1.0


class Health:
    """Collects signs of life by name (a partition, a connection); one that is overdue makes the service unhealthy."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._beats: dict[str, float] = {"started": monotonic_s()}
        self._loop_turned_at_s = monotonic_s()
        self._lock = threading.Lock()

    def beat(self, name: str) -> None:
        """``name`` made progress, or confirmed that there is nothing to do."""
        with self._lock:
            self._beats[name] = self._monotonic_s()

    def forget(self, name: str) -> None:
        """``name`` is no longer this service's business."""
        with self._lock:
            self._beats.pop(name, None)

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether all is well, and seconds since each sign of life."""
        now = self._monotonic_s()
        with self._lock:
            ages_s = {name: round(now - beat, 1) for name, beat in self._beats.items()}
        overdue = sorted(name for name, age_s in ages_s.items() if age_s > HEALTHY_FOR_S)
        starting = set(ages_s) == {"started"}
        healthy = not overdue and not starting
        reason = "starting" if starting else f"no progress: {', '.join(overdue)}" if overdue else "ok"
        return healthy, {"healthy": healthy, "reason": reason, "seconds_since": ages_s}

    def started(self) -> None:
        """The service has reached the broker: from now on only the other signs of life count."""
        self.beat("connected")
        self.forget("started")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take each second in which ``loop`` gets to this for a sign of its life, until it is closed."""
        self._loop_turned_at_s = self._monotonic_s()
        loop.call_later(_LOOP_LOOKED_AT_EVERY_S, self.watch, loop)

    def liveness(self) -> tuple[bool, dict[str, object]]:
        """Whether the event loop turns, and seconds since it last did."""
        age_s = self._monotonic_s() - self._loop_turned_at_s
        alive = age_s <= LOOP_ALIVE_FOR_S
        return alive, {"alive": alive, "seconds_since_event_loop_turned": round(age_s, 1)}
