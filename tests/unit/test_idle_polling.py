"""An idle consumer polls the brokers less often, and as before once a record arrives."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from libs.runtime.kafka_client.idle_polling import IdlePolling
from libs.runtime.timing import (
    FETCH_MAX_WAIT_MS,
    IDLE_AFTER_S,
    IDLE_INTERVAL_S,
    SESSION_TIMEOUT_MS,
    TICK_S,
)

PLAN_EVERY_S = 0.2


class Consumer:
    """The parts of aiokafka's consumer that have an interval; counts the sent heartbeats."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.sent = 0
        self.answered = True
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=FETCH_MAX_WAIT_MS, _fetcher_timeout=PLAN_EVERY_S)
        self._coordinator = SimpleNamespace(_do_heartbeat=self._send)

    async def _send(self) -> bool:
        self.sent += 1
        return self.answered

    def long_poll_ms(self) -> int:
        return int(self._fetcher._fetch_max_wait_ms)

    def plans_every_s(self) -> float:
        return float(self._fetcher._fetcher_timeout)

    async def heartbeat(self) -> bool:
        """Send a heartbeat like aiokafka's loop, once per ``HEARTBEAT_INTERVAL_MS``."""
        return bool(await self._coordinator._do_heartbeat())


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def pace(consumer: Consumer) -> IdlePolling:
    return IdlePolling(cast(AIOKafkaConsumer, cast(Any, consumer)), lambda: consumer.now_s)


async def test_polling_is_unchanged_until_the_consumer_is_idle(consumer: Consumer, pace: IdlePolling) -> None:
    consumer.now_s += IDLE_AFTER_S - 5
    pace.note(busy=True)
    consumer.now_s += IDLE_AFTER_S - 1
    pace.note(busy=False)
    assert not pace.idle
    assert pace.tick_s == TICK_S
    assert consumer.long_poll_ms() == FETCH_MAX_WAIT_MS
    assert consumer.plans_every_s() == PLAN_EVERY_S
    assert [await consumer.heartbeat() for _ in range(4)] == [True] * 4
    assert consumer.sent == 4


async def test_an_idle_consumer_polls_once_per_interval(consumer: Consumer, pace: IdlePolling) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    assert pace.idle
    assert pace.tick_s == IDLE_INTERVAL_S
    assert consumer.long_poll_ms() == IDLE_INTERVAL_S * 1000
    assert consumer.plans_every_s() == IDLE_INTERVAL_S
    assert await consumer.heartbeat()
    assert consumer.sent == 1
    began_s = asyncio.get_running_loop().time()
    assert await consumer.heartbeat()
    assert consumer.sent == 2
    assert asyncio.get_running_loop().time() - began_s >= 0.9 * IDLE_INTERVAL_S, "the next one is due after an interval"
    consumer.now_s += IDLE_INTERVAL_S
    assert await consumer.heartbeat()
    assert consumer.sent == 3
    assert 3 * IDLE_INTERVAL_S < SESSION_TIMEOUT_MS / 1000, "one or two heartbeats may be lost"


async def test_a_failed_heartbeat_is_retried_at_once(consumer: Consumer, pace: IdlePolling) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    consumer.answered = False
    await consumer.heartbeat()
    for sent in (2, 3, 4):
        consumer.now_s += 0.1
        repeated = asyncio.create_task(consumer.heartbeat())
        for _ in range(10):
            await asyncio.sleep(0)
        assert repeated.done(), "it does not wait"
        assert not repeated.result()
        assert consumer.sent == sent


async def test_the_first_record_ends_the_idle_mode(consumer: Consumer, pace: IdlePolling) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    await consumer.heartbeat()
    waiting = asyncio.create_task(consumer.heartbeat())
    await asyncio.sleep(0)
    assert consumer.sent == 1
    pace.note(busy=True)
    assert await waiting
    assert consumer.sent == 2
    assert not pace.idle
    assert pace.tick_s == TICK_S
    assert consumer.long_poll_ms() == FETCH_MAX_WAIT_MS
    assert consumer.plans_every_s() == PLAN_EVERY_S
    assert [await consumer.heartbeat() for _ in range(4)] == [True] * 4
    assert consumer.sent == 6


async def test_closing_restores_the_consumer(consumer: Consumer, pace: IdlePolling) -> None:
    consumer.now_s += IDLE_AFTER_S
    pace.note(busy=False)
    pace.close()
    assert consumer.long_poll_ms() == FETCH_MAX_WAIT_MS
    assert consumer.plans_every_s() == PLAN_EVERY_S
    assert consumer._coordinator._do_heartbeat == consumer._send
