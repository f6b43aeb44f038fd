import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from libs.runtime.kafka_client.fetch_pacing import LARGE_RESPONSE_BYTES, FetchPacing

APART_S = 0.04
EMPTY, LARGE = 0, LARGE_RESPONSE_BYTES + 1


@dataclass
class FakeBrokers:
    """Answer each fetch after ``takes_s`` with ``response_bytes`` of records."""

    response_bytes: int = EMPTY
    takes_s: float = 0.001
    now_s: float = 1000.0
    received_bytes: int = 0
    fetches_s: dict[int, list[float]] = field(default_factory=dict)
    """When each broker was sent a fetch."""

    async def fetch(self, _: Any, broker: int, __: Any) -> bool:
        self.fetches_s.setdefault(broker, []).append(self.now_s)
        self.now_s += self.takes_s
        self.received_bytes += self.response_bytes
        return self.response_bytes > 0

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def pacing(self) -> FetchPacing:
        return FetchPacing(self.fetch, lambda: self.received_bytes, APART_S, lambda: self.now_s, self.sleep)

    def gaps_s(self, broker: int = 1) -> list[float]:
        times_s = self.fetches_s[broker]
        return [round(later - earlier, 6) for earlier, later in pairwise(times_s)]


async def test_empty_responses_are_fetched_at_intervals() -> None:
    brokers = FakeBrokers()
    fetch = brokers.pacing()
    assert [await fetch(None, 1, None) for _ in range(3)] == [False] * 3
    assert brokers.gaps_s() == [APART_S] * 2


async def test_a_backlog_is_fetched_without_a_pause() -> None:
    brokers = FakeBrokers(LARGE)
    fetch = brokers.pacing()
    for _ in range(3):
        await fetch(None, 1, None)
    brokers.response_bytes = EMPTY
    for _ in range(3):
        await fetch(None, 1, None)
    assert brokers.gaps_s() == [brokers.takes_s] * 3 + [APART_S / 4, APART_S * 7 / 16]


async def test_the_interval_is_shorter_the_larger_the_response_was() -> None:
    brokers = FakeBrokers(LARGE_RESPONSE_BYTES // 4)
    fetch = brokers.pacing()
    assert [await fetch(None, 1, None) for _ in range(3)] == [True] * 3
    assert brokers.gaps_s() == [APART_S * 3 / 4] * 2


async def test_a_long_poll_begins_at_once_after_one_that_took_longer() -> None:
    brokers = FakeBrokers(takes_s=0.5)
    fetch = brokers.pacing()
    for _ in range(3):
        await fetch(None, 1, None)
    assert brokers.gaps_s() == [0.5] * 2


async def test_brokers_do_not_wait_for_one_another() -> None:
    brokers = FakeBrokers()
    fetch = brokers.pacing()
    await fetch(None, 1, None)
    await fetch(None, 2, None)
    assert brokers.fetches_s == {1: [1000.0], 2: [1000.0 + brokers.takes_s]}


async def test_a_fetch_that_is_cancelled_while_it_waits_is_not_sent() -> None:
    brokers = FakeBrokers()
    fetch = FetchPacing(brokers.fetch, lambda: brokers.received_bytes, APART_S, lambda: brokers.now_s)
    await fetch(None, 1, None)
    waiting = asyncio.ensure_future(fetch(None, 1, None))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await waiting is False
    assert len(brokers.fetches_s[1]) == 1
