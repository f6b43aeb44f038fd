"""Distinguishes a stuck consumer from a topic without new records."""

import time
from collections.abc import Callable

from libs.runtime.errors import StuckConsumerError
from libs.runtime.timing import IDLE_INTERVAL_S, STUCK_AFTER_S


class StuckConsumerCheck:
    """Measures for how long a partition's consumer has had no fetch response, not even an empty one."""

    def __init__(self, name: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._monotonic_s = monotonic_s
        self._looked_s = monotonic_s()
        self._lasted_s = 0.0

    def update(self, *, excused: bool) -> None:
        """To be called at every tick. ``excused``: a response arrived recently, or its leader may be out of reach.

        Raises:
            StuckConsumerError: there has been no response for ``STUCK_AFTER_S``.
        """
        looked_s, self._looked_s = self._looked_s, self._monotonic_s()
        if excused:
            self._lasted_s = 0.0
            return
        # Time in which this process did not run (a suspended machine, a pause) does not count.
        self._lasted_s += min(self._looked_s - looked_s, 2 * IDLE_INTERVAL_S)
        if self._lasted_s > STUCK_AFTER_S:
            raise StuckConsumerError(
                f"{self._name}: the broker answers, but nothing has been received for {STUCK_AFTER_S:.0f} s",
                advice="start the service again; it continues from its last commit",
            )
