"""What is tried again after a failure, and when."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff

MAX_FAILURES = 8
_ALONE_FOR_S = 60.0


class Retries:
    """Counts failures in a row, of single partitions where the culprit is known, otherwise of all together.

    A failure aborts the transaction of all partitions. So that one partition does not stop the others, it is left out for a
    while from its second failure on. Where the culprit is not known, partitions commit one at a time, until it is.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._failures: Counter[TopicPartition | None] = Counter()
        self._outages = 0
        self._backoff = Backoff()
        self._backoffs: dict[TopicPartition, Backoff] = {}
        self._back_at_s: dict[TopicPartition, float] = {}
        self._alone_until_s = 0.0

    def outage(self) -> float:
        """The broker could not be reached; returns how long to wait in seconds.

        One connection that breaks is no outage yet: the first time there is nothing to wait for.
        """
        first, self._outages = not self._outages, self._outages + 1
        return 0.0 if first else self._backoff.next_s()

    def failed(self, partition: TopicPartition | None) -> float:
        """Work failed, for ``partition``'s sake if it is known; returns how long to wait in seconds."""
        self._failures[partition] += 1
        if partition is None:
            if self._failures[None] > 1:
                self._alone_until_s = self._monotonic_s() + _ALONE_FOR_S
            return self._backoff.next_s()
        backoff = self._backoffs.setdefault(partition, Backoff())
        delay_s = backoff.next_s()
        if self._failures[partition] == 1:
            return delay_s
        self._back_at_s[partition] = self._monotonic_s() + delay_s
        return 0.0

    def failures(self, partition: TopicPartition | None) -> int:
        """How often work has failed in a row for this partition's sake, or for an unknown reason."""
        return self._failures[partition]

    @property
    def exhausted(self) -> bool:
        """Whether trying again did not help often enough."""
        return any(failures > MAX_FAILURES for failures in self._failures.values())

    @property
    def alone_until_s(self) -> float:
        """Until when (monotonic) each transaction is to have records of one partition only."""
        return self._alone_until_s

    def left_out(self) -> dict[TopicPartition, float]:
        """The partitions that the next attempt does without, and when (monotonic) each comes back.

        Asked once for an attempt: a partition whose time is over by the second look would be paused, and not awaited.
        """
        now_s = self._monotonic_s()
        return {partition: back_at_s for partition, back_at_s in self._back_at_s.items() if back_at_s > now_s}

    def committed(self, partitions: Iterable[TopicPartition]) -> None:
        """Records of these were committed."""
        self._outages = 0
        self._backoff.reset()
        self._failures.pop(None, None)
        for partition in partitions:
            if self._failures.pop(partition, None) is not None:
                self._backoffs.pop(partition, None)
                self._back_at_s.pop(partition, None)
