"""Reports a transaction that keeps the records of a partition from being read."""

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

REPORT_AFTER_S = 60.0
# Between two looks. During an outage, or while this machine is suspended, there is no look, and no transaction can end. Not a few
# ticks: the loop may process a fetch for minutes.
_COUNTED_AT_MOST_S = REPORT_AFTER_S / 3


class OpenTransactionCheck:
    """Measures for how long a partition's last stable offset has stood still before its end.

    A transaction of the pipeline ends within 20 s. One that does not is a sender's, or no coordinator ends it (KIP-664).
    """

    def __init__(self, name: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._monotonic_s = monotonic_s
        self._stable_offset: int | None = None
        self._looked_s = monotonic_s()
        self._lasted_s = 0.0

    def update(self, stable_offset: int | None, end_offset: int | None) -> None:
        """Compare the offsets of a recent fetch response; logs a warning once per ``REPORT_AFTER_S``."""
        looked_s, self._looked_s = self._looked_s, self._monotonic_s()
        waits = stable_offset is not None and end_offset is not None and stable_offset < end_offset
        if not waits or stable_offset != self._stable_offset:
            self._stable_offset, self._lasted_s = stable_offset if waits else None, 0.0
            return
        self._lasted_s += min(self._looked_s - looked_s, _COUNTED_AT_MOST_S)
        if self._lasted_s >= REPORT_AFTER_S:
            self._lasted_s = 0.0
            log.warning(
                "a transaction stays open: the records after it cannot be read",
                partition=self._name,
                offset=stable_offset,
                end_offset=end_offset,
                advice="`pipeline doctor` finds its producer, and says what to do",
            )
