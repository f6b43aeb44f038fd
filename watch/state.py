"""The state of the pipeline, accumulated from observations."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from watch.observation import Metric, Observation, Offsets

READERS: Mapping[str, str] = {
    ORDERS.name: "processor",
    PROCESSED_ORDERS.name: "analytics",
    PRODUCT_METRICS.name: "sink",
}
"""Which consumer group reads which topic."""

WITH_MEMBERS = ("processor", "analytics")
"""The groups that have members; the sink only commits offsets, and a lock decides which sink writes."""

_RATE_SPAN_S = 10.0
_KEPT_WINDOWS = 60
_MOST_KEPT_METRICS = 100_000  # of the newest windows: some 30 MB
_SLOW_S = 5.0
_MOST_REASONS = 50  # any program may write dead letters, with reasons of its own
_OTHER_REASONS = "other"

Window = tuple[int, int]
"""A window's start and end, in epoch seconds."""


class Rate:
    """How fast a count has grown over the last ten seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, total: float) -> None:
        if self._samples and at_s < self._samples[-1][0]:  # the clock was set back
            self._samples.clear()
        self._samples.append((at_s, total))
        while len(self._samples) > 2 and self._samples[1][0] <= at_s - _RATE_SPAN_S:
            self._samples.popleft()

    @property
    def grew(self) -> bool:
        """Whether the last sample is larger than the one before."""
        return len(self._samples) > 1 and self._samples[-1][1] > self._samples[-2][1]

    @property
    def per_s(self) -> float | None:
        """Per second; None until there are two samples."""
        if len(self._samples) < 2:
            return None
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s > first_s else None


def lags_of(
    seen: Observation, topic: str, committed: Offsets | None = None, ends: Offsets | None = None
) -> dict[int, int]:
    """The lag of a topic's group by partition; all offsets if the group has committed none.

    ``committed`` replaces the offsets of the topic's usual group, ``ends`` those up to which it has to read.

    In a topic that is written in transactions, each transaction marker takes an offset, too. It comes after at least one
    record, so a single remaining offset is a marker, and the lag is 0.
    """
    begins, ends = seen.begins[topic], seen.ends[topic] if ends is None else ends
    committed = seen.committed[topic] if committed is None else committed
    nothing = 0 if topic == ORDERS.name else 1
    left = {
        partition: end - max(committed.get(partition, 0), begins.get(partition, 0)) for partition, end in ends.items()
    }
    return {partition: count if count > nothing else 0 for partition, count in left.items()}


@dataclass
class State:
    """The known state of the pipeline; rates are None until there are two observations."""

    window_seconds: int
    waiting_for: str = "the broker"
    """The reason why Kafka cannot be read; empty while it can."""
    seen_at_s: float | None = None
    """When it was last read, in epoch seconds."""
    orders: int = 0
    """Offsets: orders, and the commit markers of those who write orders in transactions, such as a replay."""
    orders_written: int = 0
    """All that were ever written, including those deleted by retention; offsets as well."""
    orders_rate: Rate = field(default_factory=Rate)
    accepted_rate: Rate = field(default_factory=Rate)
    """Orders that the processor has accepted: those that it has read, minus those that it has rejected."""
    read_rates: dict[str, Rate] = field(default_factory=dict)
    lags: dict[str, int] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    """By group, what it cannot read yet because of open transactions; while the stages work, they have some open."""
    moved_at_s: dict[str, float] = field(default_factory=dict)
    """When a group last read something, or had nothing to read."""
    database_lag: int | None = None
    """The lag of the sink's database; None unless that is its second output."""
    output_lags: dict[str, int] = field(default_factory=dict)
    """The lag of each output of the sink; that of one that was never written is the whole topic."""
    members: Mapping[str, int] = field(default_factory=dict)
    """The number of processes that read, for the groups that have members."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By reason; those with any but the first 50 reasons count as ``other``."""
    rejected: int = 0
    late: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    """By topic, the maximum number of records that are not counted."""
    windows: dict[Window, dict[str, Metric]] = field(default_factory=dict)
    """The newest closed windows, oldest first: each one's metrics by product."""
    cut_until_s: int = 0
    """Windows that end then or before may have more metrics than were read."""
    closing: dict[Window, Offsets] = field(default_factory=dict)
    """Windows that the analytics may not have closed in all partitions, with the ends up to which it has to read for that."""
    metrics_count: int = 0
    sources: int = 0
    marks_s: dict[int, float] = field(default_factory=dict)
    watermark_rate: Rate = field(default_factory=Rate)
    last_order_s: float | None = None
    """When orders were last seen to arrive, in epoch seconds; None if never."""

    def start_over(self) -> None:
        """Forget all observations."""
        vars(self).update(vars(State(self.window_seconds)))

    def apply(self, seen: Observation) -> None:
        """Take in an observation."""
        self.waiting_for = ""
        at_s = self.seen_at_s = seen.at_s
        for topic, group in READERS.items():
            self.lags[group] = sum(lags_of(seen, topic).values())
            self.blocked[group] = seen.blocked.get(topic, 0)
            read = self.read_rates.setdefault(group, Rate())
            read.add(at_s, sum(seen.committed[topic].values()))
            if read.grew or not self.lags[group]:
                self.moved_at_s[group] = at_s
        self.output_lags = {
            output: sum(lags_of(seen, PRODUCT_METRICS.name, offsets).values())
            for output, offsets in seen.by_output.items()
        }
        if seen.in_database:
            self.database_lag = sum(lags_of(seen, PRODUCT_METRICS.name, seen.in_database).values())
        self.members = seen.members
        self.orders = sum(seen.ends[ORDERS.name].values()) - sum(seen.begins[ORDERS.name].values())
        self.orders_written = sum(seen.ends[ORDERS.name].values())
        self.orders_rate.add(at_s, self.orders_written)
        if self.orders_rate.grew:
            self.last_order_s = at_s
        self._count_letters(seen.dead_letters)
        if seen.rejected is None:
            self.accepted_rate = Rate()
        else:
            self.rejected += seen.rejected
            self.accepted_rate.add(at_s, sum(seen.committed[ORDERS.name].values()) - self.rejected)
        self.late += seen.late
        self.unread += seen.unread
        self.cut_until_s = max(self.cut_until_s, seen.cut_until_s or 0)
        self._add_metrics(seen.metrics)
        self._note_closing(seen)
        for mark in seen.marks:
            self.sources = max(self.sources, mark.source_count)
            for source in mark.sources:
                self.marks_s[source] = max(self.marks_s.get(source, mark.watermark_s), mark.watermark_s)
        if self.watermark_s is not None:
            self.watermark_rate.add(at_s, self.watermark_s)

    def _count_letters(self, by_reason: Counter[str]) -> None:
        for reason, count in by_reason.items():
            is_listed = reason in self.dead_letters or len(self.dead_letters) < _MOST_REASONS
            self.dead_letters[reason if is_listed else _OTHER_REASONS] += count

    def _add_metrics(self, metrics: list[Metric]) -> None:
        self.metrics_count += len(metrics)
        for metric in metrics:
            window = (metric.window_start, metric.window_end)
            self.windows.setdefault(window, {})[metric.product_id] = metric
        # Partitions are read one after the other, so the last metric need not be the newest.
        newest = sorted(self.windows, key=lambda each: each[::-1])[-_KEPT_WINDOWS:]
        kept = sum(len(self.windows[window]) for window in newest)
        while kept > _MOST_KEPT_METRICS and len(newest) > 1:
            kept -= len(self.windows[newest.pop(0)])
        self.windows = {window: self.windows[window] for window in newest}

    def _note_closing(self, seen: Observation) -> None:
        """Note which windows some partitions of the analytics may not have closed yet.

        Each partition closes a window in a transaction of its own, at a watermark that is in all of them. So if one has closed
        it, the others do so before their ends in this observation.
        """
        ends = seen.ends[PROCESSED_ORDERS.name]
        self.closing |= {(metric.window_start, metric.window_end): ends for metric in seen.metrics}
        if seen.all_metrics_read:
            self.closing = {
                window: ends
                for window, ends in self.closing.items()
                if window in self.windows and any(lags_of(seen, PROCESSED_ORDERS.name, ends=ends).values())
            }

    def is_whole(self, window: Window) -> bool:
        """Whether a window is closed in all partitions of the analytics, and all of its metrics have been read."""
        return window[1] > self.cut_until_s and window not in self.closing

    def behind_s(self, group: str) -> float | None:
        """Seconds that ``group`` needs for its lag at its rate of the last ten seconds; None if it reads nothing."""
        if not self.lags[group]:
            return 0.0
        rate = self.read_rates[group].per_s
        return self.lags[group] / rate if rate else None

    def keeps_up(self, group: str) -> bool | None:
        """Whether ``group`` is at most a few seconds behind, and has members; None while its rate is not known yet."""
        if self.members.get(group) == 0:
            return False
        if self.lags[group] and self.read_rates[group].per_s is None:
            return None
        behind_s = self.behind_s(group)
        if behind_s is None:  # after a quiet time a look may come between a record and its commit
            return (self.seen_at_s or 0.0) - self.moved_at_s.get(group, 0.0) <= _SLOW_S
        return behind_s <= _SLOW_S

    @property
    def watermark_s(self) -> float | None:
        """The event time, in epoch seconds, that all sources have passed; None until each has a watermark."""
        if not self.sources or len(self.marks_s) < self.sources:
            return None
        return min(self.marks_s.values())

    @property
    def is_idle(self) -> bool:
        """Whether no order comes and no window is open, so that the processor writes no watermarks."""
        if self.watermark_s is None or self.watermark_rate.per_s != 0 or self.orders_rate.per_s != 0:
            return False
        if self.last_order_s is not None and self.watermark_s < self.last_order_s + self.window_seconds:
            return False  # the watermark has stopped while windows are open
        if self.members.get("processor") == 0:
            return False
        # Records behind an open transaction are no lag, and no order that was seen to arrive.
        return not any(self.lags[stage] or self.blocked[stage] for stage in ("processor", "analytics"))

    @property
    def silent_sources(self) -> list[int]:
        """Partitions of ``orders`` without a watermark so far."""
        return [source for source in range(self.sources) if source not in self.marks_s]

    @property
    def next_close_s(self) -> int | None:
        """The end, in epoch seconds, of the window that contains the watermark."""
        if self.watermark_s is None:
            return None
        return (int(self.watermark_s) // self.window_seconds + 1) * self.window_seconds

    def closes_in_s(self, now_s: float) -> float | None:
        """Seconds until that window closes, if the watermark keeps its rate; None if it has stopped.

        A rate above 1 (a backlog) ends when the watermark reaches the clock, or the senders' clocks if these are ahead: the result is at
        least the time from there to the window's end.
        """
        pace = self.watermark_rate.per_s
        if self.watermark_s is None or self.next_close_s is None or not pace:
            return None
        at_least_s = self.next_close_s - max(now_s, self.watermark_s)
        return max(at_least_s, (self.next_close_s - self.watermark_s) / pace)
