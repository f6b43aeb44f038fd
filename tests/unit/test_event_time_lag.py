"""Which partitions' event-time lag is logged, when, and how often."""

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from services.processor.event_time_lag import MIN_DURATION_S, MIN_REPORTED_LAG_S, REPORT_EVERY_S, EventTimeLag
from services.processor.source_watermark import SourceWatermark
from tests.unit.driver import FakeClock

DAY_S = 86_400.0
NOW_S = 1_700_000_000.0


class Replica:
    """The partitions of a replica, each with a sender whose clock is slow by this time."""

    def __init__(self, slow_by_s: dict[int, float], max_event_age_s: float | None = None) -> None:
        self.slow_by_s = slow_by_s
        self.clock = FakeClock(NOW_S)
        self.arrived_s = NOW_S
        self.lag = EventTimeLag("orders", max_event_age_s, self.clock)
        self.watermarks = {partition: SourceWatermark(5.0, 10.0, max_event_age_s) for partition in slow_by_s}

    def read_for(self, seconds: int, *, caught_up_a_second: float = 0.0) -> list[EventDict]:
        """Read an order a second in each partition; returns the log lines."""
        with capture_logs() as lines:
            for _ in range(seconds):
                self.clock.time_s += 1
                self.arrived_s += 1
                for partition, watermark in self.watermarks.items():
                    watermark.saw_event(self.arrived_s - self.slow_by_s[partition])
                    watermark.saw_arrival(self.arrived_s)
                    self.lag.saw_orders(partition, watermark)
                    self.slow_by_s[partition] = max(self.slow_by_s[partition] - caught_up_a_second, 0.0)
        return list(lines)


def test_the_log_line_has_partition_lag_and_consequence() -> None:
    (line,) = Replica({0: 0.2, 5: DAY_S}).read_for(30)
    assert line == {
        "event": "event time trails arrival",
        "log_level": "warning",
        "partition": "orders/5",
        "lag_seconds": DAY_S,
        "consequence": "the windows of all products wait for this partition",
        "advice": "set the sender's clock right, or MAX_EVENT_AGE_SECONDS",
    }


def test_with_a_bound_the_log_line_says_that_the_orders_are_late() -> None:
    (line,) = Replica({0: 0.2, 5: DAY_S}, max_event_age_s=3600).read_for(30)
    assert "late-orders" in line["consequence"]
    (line,) = Replica({0: 0.2, 5: 1800.0}, max_event_age_s=3600).read_for(30)
    assert "wait" in line["consequence"]


def test_a_partition_of_another_replica_by_now_is_not_compared_with() -> None:
    """Its last event time trails, too, the longer ago the more."""
    replica = Replica({0: 600.0, 1: 600.0})
    assert not replica.read_for(30), "all are behind: a backfill"
    del replica.watermarks[1]
    replica.lag.keep({0})
    assert replica.read_for(30)


def test_it_is_logged_once_per_minute_and_partition() -> None:
    replica = Replica({0: 0.2, 4: DAY_S, 5: DAY_S})
    lines = replica.read_for(int(10 * REPORT_EVERY_S))
    assert [line["partition"] for line in lines] == 10 * ["orders/4", "orders/5"]


def test_a_clock_that_is_set_back_does_not_suppress_the_log_line() -> None:
    replica = Replica({0: 0.2, 5: DAY_S})
    assert len(replica.read_for(30)) == 1
    replica.clock.time_s -= 2 * DAY_S
    assert len(replica.read_for(30)) == 1


@pytest.mark.parametrize(
    "slow_by_s",
    [
        {0: 0.2, 5: MIN_REPORTED_LAG_S - 1},  # little
        {0: DAY_S, 5: DAY_S},  # all partitions lag: a backlog
        {0: 0.2, 5: 0.3},
    ],
)
def test_a_lag_that_is_small_or_common_to_all_is_not_logged(slow_by_s: dict[int, float]) -> None:
    assert Replica(slow_by_s).read_for(120) == []


def test_a_partition_that_catches_up_is_not_logged() -> None:
    """A backfill of one partition: event time advances faster than real time."""
    assert Replica({0: 0.2, 5: DAY_S}).read_for(300, caught_up_a_second=20.0) == []


def test_nothing_is_logged_before_the_lag_has_lasted() -> None:
    replica = Replica({0: 0.2, 5: DAY_S})
    assert replica.read_for(int(MIN_DURATION_S)) == []
    assert len(replica.read_for(2)) == 1


def test_a_replica_with_a_single_partition_logs_it_too() -> None:
    assert [line["partition"] for line in Replica({3: DAY_S}).read_for(30)] == ["orders/3"]


def test_nothing_is_logged_before_the_first_order() -> None:
    watermark = SourceWatermark(5.0, 10.0)
    watermark.saw_arrival(NOW_S)
    with capture_logs() as lines:
        EventTimeLag("orders", None, FakeClock()).saw_orders(0, watermark)
    assert lines == []
