"""Decides after a failure which partitions are retried, and when."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff

MAX_FAILURES = 8
_ISOLATED_FOR_S = 60.0


class Retries:
    """Counts consecutive failures: of a single partition if it is known which one failed, otherwise of all together.

    A failure aborts the transaction of all partitions. So that one partition does not block the others, it is left out for a
    while from its second failure on. If it is not known which one failed, partitions commit one at a time until it is.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._failures: Counter[TopicPartition | None] = Counter()
        self._outages = 0
        self._backoff = Backoff()
        self._backoffs: dict[TopicPartition, Backoff] = {}
        self._back_at_s: dict[TopicPartition, float] = {}
        self._isolated_until_s = 0.0

    def outage(self) -> float:
        """The broker could not be reached; returns how long to wait in seconds.

        The first time there is no wait: a single broken connection is not an outage yet.
        """
        first, self._outages = not self._outages, self._outages + 1
        return 0.0 if first else self._backoff.next_s()

    def failed(self, partition: TopicPartition | None) -> float:
        """Note a failure, of ``partition`` if it is known; returns how long to wait in seconds."""
        self._failures[partition] += 1
        if partition is None:
            if self._failures[None] > 1:
                self._isolated_until_s = self._monotonic_s() + _ISOLATED_FOR_S
            return self._backoff.next_s()
        backoff = self._backoffs.setdefault(partition, Backoff())
        delay_s = backoff.next_s()
        if self._failures[partition] == 1:
            return delay_s
        self._back_at_s[partition] = self._monotonic_s() + delay_s
        return 0.0

    def failures(self, partition: TopicPartition | None) -> int:
        """The number of consecutive failures of this partition, or of unknown ones."""
        return self._failures[partition]

    @property
    def exhausted(self) -> bool:
        """Whether no retry is left."""
        return any(failures > MAX_FAILURES for failures in self._failures.values())

    @property
    def isolated_until_s(self) -> float:
        """Until when (monotonic) each transaction is to have records of one partition only."""
        return self._isolated_until_s

    def suspended(self) -> dict[TopicPartition, float]:
        """The partitions that the next attempt leaves out, and when (monotonic) each is retried.

        An attempt calls this once: with a second call, a partition could be paused without being awaited.
        """
        now_s = self._monotonic_s()
        return {partition: back_at_s for partition, back_at_s in self._back_at_s.items() if back_at_s > now_s}

    def committed(self, partitions: Iterable[TopicPartition]) -> None:
        """Note that records of these partitions were committed."""
        self._outages = 0
        self._backoff.reset()
        self._failures.pop(None, None)
        for partition in partitions:
            if self._failures.pop(partition, None) is not None:
                self._backoffs.pop(partition, None)
                self._back_at_s.pop(partition, None)
