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


def test_a_consumer_that_hears_nothing_from_a_broker_that_answers_is_stuck() -> None:
    time = FakeTime()
    stuck_check = StuckConsumerCheck("orders-0", lambda: time.now_s)
    time.look_for(stuck_check, STUCK_AFTER_S)
    time.look_for(stuck_check, STUCK_AFTER_S, excused=True)
    time.look_for(stuck_check, STUCK_AFTER_S)
    with pytest.raises(StuckConsumerError, match="orders-0"):
        time.look_for(stuck_check, 1)


def test_an_idle_replica_s_consumer_is_stuck_after_the_same_time() -> None:
    time = FakeTime()
    stuck_check = StuckConsumerCheck("orders-0", lambda: time.now_s)
    time.look_for(stuck_check, STUCK_AFTER_S, every_s=IDLE_INTERVAL_S)
    with pytest.raises(StuckConsumerError, match="orders-0"):
        time.look_for(stuck_check, IDLE_INTERVAL_S, every_s=IDLE_INTERVAL_S)


def test_a_machine_that_was_suspended_has_no_stuck_consumer() -> None:
    time = FakeTime()
    stuck_check = StuckConsumerCheck("orders-0", lambda: time.now_s)
    time.look_for(stuck_check, 1)
    time.now_s += 3600
    time.look_for(stuck_check, 10)
