"""Logs partitions whose event time stays behind the arrival of their orders: most likely a sender's clock is slow."""

from collections.abc import Collection
from typing import NamedTuple

import structlog

from libs.runtime.clock import Clock
from services.processor.source_watermark import SourceWatermark

log = structlog.get_logger()

MIN_REPORTED_LAG_S = 60.0
"""From here on a lag of event time behind arrival, and behind the other partitions, is reported."""
MIN_DURATION_S = 10.0
"""A lag has to last for this time, by the broker's time of arrival. A backfill catches up with the clock meanwhile."""
REPORT_EVERY_S = 60.0


class _Since(NamedTuple):
    arrived_s: float
    lag_s: float


class EventTimeLag:
    """Tracks the event time of all partitions of a replica, and logs those that are behind.

    Args:
        topic: the source topic, for the log.
        max_event_age_s: how far behind its arrival an order may be before the windows no longer wait for it.
        clock: used to log each partition at most once a minute.
    """

    def __init__(self, topic: str, max_event_age_s: float | None, clock: Clock) -> None:
        self._topic = topic
        self._max_event_age_s = max_event_age_s
        self._clock = clock
        self._event_times_s: dict[int, float] = {}
        self._since: dict[int, _Since] = {}
        self._reported_at_s: dict[int, float] = {}

    def keep(self, partitions: Collection[int]) -> None:
        """Forget all but ``partitions``: the others are another replica's."""
        for known in (self._event_times_s, self._since):
            for gone in known.keys() - partitions:
                del known[gone]

    def saw_orders(self, partition: int, watermark: SourceWatermark) -> None:
        """Orders of ``partition`` were read, and its ``watermark`` has been updated."""
        lag_s, event_time_s = watermark.lag_s, watermark.event_time_s
        if lag_s is None or event_time_s is None:
            return
        self._event_times_s[partition] = event_time_s
        if lag_s < MIN_REPORTED_LAG_S or not self._trails_the_others(partition, event_time_s):
            self._since.pop(partition, None)
            return
        arrived_s = event_time_s + lag_s
        since = self._since.setdefault(partition, _Since(arrived_s, lag_s))
        watched_s = arrived_s - since.arrived_s
        if watched_s < MIN_DURATION_S:
            return
        self._since[partition] = _Since(arrived_s, lag_s)
        if lag_s > since.lag_s - watched_s / 2:  # otherwise it catches up
            self._log_lag(partition, lag_s)

    def _trails_the_others(self, partition: int, event_time_s: float) -> bool:
        """Whether another partition is far ahead, or no other is known. If all are behind, it is a backfill."""
        others_s = [time_s for other, time_s in self._event_times_s.items() if other != partition]
        return not others_s or max(others_s) - event_time_s >= MIN_REPORTED_LAG_S

    def _log_lag(self, partition: int, lag_s: float) -> None:
        now_s = self._clock.now_s()
        reported_at_s = self._reported_at_s.get(partition)
        if reported_at_s is not None and 0 <= now_s - reported_at_s < REPORT_EVERY_S:
            return
        self._reported_at_s[partition] = now_s
        if self._max_event_age_s is None or lag_s <= self._max_event_age_s:
            consequence = "the windows of all products wait for this partition"
            advice = "set the sender's clock right, or MAX_EVENT_AGE_SECONDS"
        else:
            consequence = "its orders are late where their windows have closed, and kept in late-orders"
            advice = "set the sender's clock right"
        log.warning(
            "event time trails arrival",
            partition=f"{self._topic}/{partition}",
            lag_seconds=round(lag_s, 1),
            consequence=consequence,
            advice=advice,
        )
