"""Logs that an output is interrupted, once a minute and for each new error, and once that it works again."""

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

_SAY_AGAIN_S = 60.0


class InterruptionLog:
    """Logs the interruptions of the output ``kind``; ``monotonic_s`` is a monotonic clock, in seconds."""

    def __init__(self, kind: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._kind = kind
        self._monotonic_s = monotonic_s
        self._since_s: float | None = None
        self._said = ""
        self._said_at_s = 0.0

    def interrupted(self, error: Exception, retry_in_s: float) -> None:
        """Log the error, unless the same one was logged within the last minute."""
        now_s, text = self._monotonic_s(), str(error) or repr(error)
        if self._since_s is None:
            self._since_s = now_s
        if text != self._said or now_s - self._said_at_s > _SAY_AGAIN_S:
            self._said, self._said_at_s = text, now_s
            log.error("interrupted", output=self._kind, error=text, retry_in_s=retry_in_s)

    def resolved(self) -> None:
        """Log that the output works again, if it was interrupted."""
        if self._since_s is not None:
            log.info("works again", output=self._kind, after_s=round(self._monotonic_s() - self._since_s, 1))
            self._since_s, self._said = None, ""
