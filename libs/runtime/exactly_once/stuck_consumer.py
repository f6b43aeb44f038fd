"""Telling a stuck consumer from a quiet topic."""

import time
from collections.abc import Callable

from libs.runtime.errors import StuckConsumerError
from libs.runtime.timing import IDLE_INTERVAL_S, STUCK_AFTER_S


class Silence:
    """How long a partition has heard nothing, not even that there is nothing new."""

    def __init__(self, name: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._monotonic_s = monotonic_s
        self._looked_s = monotonic_s()
        self._lasted_s = 0.0

    def look(self, *, excused: bool) -> None:
        """To be called at every tick; it is ``excused`` when the broker was heard just now, or does not answer anyone.

        Raises:
            StuckConsumerError: it has lasted too long.
        """
        looked_s, self._looked_s = self._looked_s, self._monotonic_s()
        if excused:
            self._lasted_s = 0.0
            return
        # Time in which this process did not run (a suspended machine, a pause) is no silence of the consumer.
        self._lasted_s += min(self._looked_s - looked_s, 2 * IDLE_INTERVAL_S)
        if self._lasted_s > STUCK_AFTER_S:
            raise StuckConsumerError(
                f"{self._name}: the broker answers, but nothing has been received for {STUCK_AFTER_S:.0f} s",
                advice="start the service again; it continues from its last commit",
            )
