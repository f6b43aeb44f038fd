"""The watermark of one source partition: it follows the events, or the clock if the partition is drained.

A partition with a backlog keeps the windows open, so that none of its orders is late. A drained one does not, so that the
last window closes when traffic stops. The rules for a drained partition are strict, since a wrong decision makes orders late.

A partition whose only sender has a slow clock keeps windows open for as long as it sends, unless there is a limit to how far
event time may be behind arrival.
"""

from libs.runtime.exactly_once.stage import Progress

# Two confirmations of the same end that are further apart do not prove that nothing was sent: the broker may have been
# down, and producers may have buffered records meanwhile. A long poll ends every half second; only an idle replica, which
# does not wait for the clock, polls less often.
LONGEST_SILENCE_S = 2.0


class SourceWatermark:
    """The watermark of one source partition, in epoch seconds; it never goes back.

    Args:
        max_out_of_orderness_s: how much earlier than the latest event another one may be.
        idle_after_s: how long the partition must be drained before the watermark follows the clock.
        max_event_age_s: how far it may be behind the newest arrival; None: no limit.
    """

    def __init__(
        self, max_out_of_orderness_s: float, idle_after_s: float, max_event_age_s: float | None = None
    ) -> None:
        self._bound_s = max_out_of_orderness_s
        self._idle_after_s = idle_after_s
        self._max_event_age_s = max_event_age_s
        self._arrived_s: float | None = None
        self._drained_since_s: float | None = None
        self._confirmed_at_s = 0.0
        self.value_s: float | None = None
        self.event_time_s: float | None = None
        """The latest event time that was seen, or that the clock stands for."""

    @property
    def lag_s(self) -> float | None:
        """How far event time is behind the arrival of the newest record; None until both are known."""
        if self._arrived_s is None or self.event_time_s is None:
            return None
        return max(self._arrived_s - self.event_time_s, 0.0)

    def saw_event(self, event_time_s: float) -> None:
        """An event was read."""
        self._drained_since_s = None
        self._saw_time(event_time_s)

    def saw_arrival(self, arrived_s: float) -> None:
        """A record was read that arrived at the broker at this time, whether it is a valid order or not."""
        self._arrived_s = max(self._arrived_s or 0.0, arrived_s)
        if self._max_event_age_s is not None:
            self._advance(self._arrived_s - self._max_event_age_s)

    def saw_progress(self, progress: Progress) -> None:
        """Update from the partition's progress, whether or not there was anything to read."""
        confirmed_at_s = progress.confirmed_at_s
        if confirmed_at_s is None or not progress.source_started:
            self._drained_since_s = None
            return
        if progress.position != progress.end_offset:
            # Only an event among these records restarts the wait: a sender of invalid ones must not keep windows open for ever.
            # A backlog is longer than the longest silence.
            return
        before_s, self._confirmed_at_s = self._confirmed_at_s, confirmed_at_s
        # Also restart the wait if the clock was set back, or it would last until the clock has caught up.
        if self._drained_since_s is None or not 0 <= confirmed_at_s - before_s <= LONGEST_SILENCE_S:
            self._drained_since_s = confirmed_at_s
        elif confirmed_at_s > before_s and before_s - self._drained_since_s >= self._idle_after_s:
            # Use the time of the previous confirmation: the request of the newest one was sent after it.
            self._saw_time(before_s)

    def _saw_time(self, event_time_s: float) -> None:
        self.event_time_s = max(self.event_time_s or 0.0, event_time_s)
        self._advance(event_time_s - self._bound_s)

    def _advance(self, watermark_s: float) -> None:
        if self.value_s is None or watermark_s > self.value_s:
            self.value_s = watermark_s
