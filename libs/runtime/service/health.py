"""Health of a service: it makes progress, or it is confirmed to be idle.

Liveness only needs a running event loop. A service that waits for its broker is unhealthy but alive: restarting it would not
help.
"""

import asyncio
import threading
import time
from collections.abc import Callable

from libs.runtime.timing import HEALTHY_FOR_S, LOOP_ALIVE_FOR_S

_LOOP_BEAT_EVERY_S = 1.0


class Health:
    """Collects heartbeats by name (a partition, a connection). An overdue one makes the service unhealthy."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._beats: dict[str, float] = {"started": monotonic_s()}
        self._loop_beat_s = monotonic_s()
        self._lock = threading.Lock()

    def beat(self, name: str) -> None:
        """Note that ``name`` made progress, or that it is confirmed to have nothing to do."""
        with self._lock:
            self._beats[name] = self._monotonic_s()

    def forget(self, name: str) -> None:
        """Stop monitoring ``name``."""
        with self._lock:
            self._beats.pop(name, None)

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether the service is healthy, and the seconds since each last beat."""
        now = self._monotonic_s()
        with self._lock:
            ages_s = {name: round(now - beat, 1) for name, beat in self._beats.items()}
        overdue = sorted(name for name, age_s in ages_s.items() if age_s > HEALTHY_FOR_S)
        starting = set(ages_s) == {"started"}
        healthy = not overdue and not starting
        reason = "starting" if starting else f"no progress: {', '.join(overdue)}" if overdue else "ok"
        return healthy, {"healthy": healthy, "reason": reason, "seconds_since": ages_s}

    def is_healthy(self) -> bool:
        return self.report()[0]

    def started(self) -> None:
        """Note that the service has reached the broker: from now on only the other names count."""
        self.beat("connected")
        self.forget("started")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note a beat of ``loop`` each second, as long as it runs callbacks, until it is closed."""
        self._loop_beat_s = self._monotonic_s()
        loop.call_later(_LOOP_BEAT_EVERY_S, self.watch, loop)

    def liveness(self) -> tuple[bool, dict[str, object]]:
        """Whether the event loop runs, and the seconds since its last beat."""
        age_s = self._monotonic_s() - self._loop_beat_s
        alive = age_s <= LOOP_ALIVE_FOR_S
        return alive, {"alive": alive, "seconds_since_event_loop_turned": round(age_s, 1)}
