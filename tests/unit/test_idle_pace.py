"""An idle consumer asks the brokers less often, and goes on as before with the first record."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from libs.runtime.kafka_client.idle_pace import IdlePace
from libs.runtime.timing import (
    FETCH_MAX_WAIT_MS,
    HEARTBEAT_INTERVAL_MS,
    IDLE_AFTER_S,
    IDLE_INTERVAL_S,
    SESSION_TIMEOUT_MS,
    TICK_S,
)


class Consumer:
    """As much of aiokafka's consumer as has a pace; counts the heartbeats that are sent."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.sent = 0
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=FETCH_MAX_WAIT_MS)
        self._coordinator = SimpleNamespace(_do_heartbeat=self._send)

    async def _send(self) -> bool:
        self.sent += 1
        return True

    def long_poll_ms(self) -> int:
        return int(self._fetcher._fetch_max_wait_ms)

    async def heartbeats(self, seconds: float) -> int:
        """How many are sent in so many seconds of aiokafka's loop."""
        before = self.sent
        for _ in range(int(seconds * 1000 / HEARTBEAT_INTERVAL_MS)):
            assert await self._coordinator._do_heartbeat()
            self.now_s += HEARTBEAT_INTERVAL_MS / 1000
        return self.sent - before


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def pace(consumer: Consumer) -> IdlePace:
    return IdlePace(cast(AIOKafkaConsumer, cast(Any, consumer)), lambda: consumer.now_s)


async def test_the_usual_pace_until_nothing_has_happened_for_long(consumer: Consumer, pace: IdlePace) -> None:
    consumer.now_s += IDLE_AFTER_S - 5
    pace.note(busy=True)
    consumer.now_s += IDLE_AFTER_S - 1
    pace.note(busy=False)
    assert not pace.idle
    assert pace.tick_s == TICK_S
    assert consumer.long_poll_ms() == FETCH_MAX_WAIT_MS
    assert await consumer.heartbeats(10) == 40


async def test_idle_it_asks_once_in_an_interval(consumer: Consumer, pace: IdlePace) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    assert pace.idle
    assert pace.tick_s == IDLE_INTERVAL_S
    assert consumer.long_poll_ms() == IDLE_INTERVAL_S * 1000
    assert await consumer.heartbeats(10) == 10
    assert 3 * IDLE_INTERVAL_S < SESSION_TIMEOUT_MS / 1000, "a heartbeat or two may get lost"


async def test_the_first_record_ends_it(consumer: Consumer, pace: IdlePace) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    pace.note(busy=True)
    assert not pace.idle
    assert pace.tick_s == TICK_S
    assert consumer.long_poll_ms() == FETCH_MAX_WAIT_MS
    assert await consumer.heartbeats(10) == 40


async def test_closed_it_leaves_the_consumer_as_it_was(consumer: Consumer, pace: IdlePace) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    pace.close()
    assert consumer.long_poll_ms() == FETCH_MAX_WAIT_MS
    assert await consumer.heartbeats(10) == 40
