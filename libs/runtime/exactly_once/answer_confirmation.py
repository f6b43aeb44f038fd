"""Decides when a broker's answer that contradicts an earlier commit is accepted."""

import time
from collections.abc import Callable

from libs.runtime.errors import OutdatedAnswerError
from libs.runtime.timing import ANSWER_CONFIRMED_AFTER_S


class AnswerConfirmation:
    """Rejects an answer that contradicts a commit, until it has been given for ``ANSWER_CONFIRMED_AFTER_S``.

    By such an answer, records before the committed offset are missing, or the offset differs.
    A broker that has been replaced as a partition's leader, or as the group's coordinator, may not know it yet, and a new leader
    may not know yet how far the partition is replicated (KIP-207). They name an end or an offset that is too early.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._since_s: float | None = None
        self._last_s = 0.0

    def raise_unless_confirmed(self, answer: str) -> None:
        """Note the answer of this attempt.

        Raises:
            OutdatedAnswerError: the first one came less than ``ANSWER_CONFIRMED_AFTER_S`` ago, or there was none for as long before this one.
        """
        now_s = self._monotonic_s()
        if self._since_s is None or now_s - self._last_s > ANSWER_CONFIRMED_AFTER_S:
            self._since_s = now_s
        self._last_s = now_s
        if now_s - self._since_s < ANSWER_CONFIRMED_AFTER_S:
            raise OutdatedAnswerError(f"{answer}; the broker may not know better yet")

    def clear(self) -> None:
        """The contradiction is gone."""
        self._since_s = None
