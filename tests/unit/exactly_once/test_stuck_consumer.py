import pytest

from libs.runtime.errors import StuckConsumerError
from libs.runtime.exactly_once.stuck_consumer import StuckConsumerCheck
from libs.runtime.timing import IDLE_INTERVAL_S, STUCK_AFTER_S, TICK_S


class FakeTime:
    now_s = 1000.0

    def look_for(
        self, stuck_check: StuckConsumerCheck, seconds: float, *, excused: bool = False, every_s: float = TICK_S
    ) -> None:
        for _ in range(int(seconds / every_s)):
            self.now_s += every_s
            stuck_check.update(excused=excused)


def test_a_consumer_without_responses_from_an_available_broker_is_stuck() -> None:
    time = FakeTime()
    stuck_check = StuckConsumerCheck("orders-0", lambda: time.now_s)
    time.look_for(stuck_check, STUCK_AFTER_S)
    time.look_for(stuck_check, STUCK_AFTER_S, excused=True)
    time.look_for(stuck_check, STUCK_AFTER_S)
    with pytest.raises(StuckConsumerError, match="orders-0"):
        time.look_for(stuck_check, 1)


def test_the_time_limit_is_the_same_for_an_idle_replica() -> None:
    time = FakeTime()
    stuck_check = StuckConsumerCheck("orders-0", lambda: time.now_s)
    time.look_for(stuck_check, STUCK_AFTER_S, every_s=IDLE_INTERVAL_S)
    with pytest.raises(StuckConsumerError, match="orders-0"):
        time.look_for(stuck_check, IDLE_INTERVAL_S, every_s=IDLE_INTERVAL_S)


def test_a_suspended_machine_does_not_make_a_consumer_stuck() -> None:
    time = FakeTime()
    stuck_check = StuckConsumerCheck("orders-0", lambda: time.now_s)
    time.look_for(stuck_check, 1)
    time.now_s += 3600
    time.look_for(stuck_check, 10)
