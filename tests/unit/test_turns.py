"""Commits take turns where they hinder one another, and only there."""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

from libs.runtime.turns import CommitTurns

PARTITIONS = 12
ALONE_S = 0.006


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = CommitTurns()
    asked = [turns.ask() for _ in range(5)]
    assert [turn.done() for turn in asked] == [True, True, False, False, False]
    turns.give_back(asked[1])
    assert [turn.done() for turn in asked] == [True, True, True, False, False]


async def test_a_turn_that_is_not_wanted_any_more_is_nobodys() -> None:
    turns = CommitTurns()
    asked = [turns.ask() for _ in range(5)]
    turns.give_back(asked[2])
    turns.give_back(asked[0])
    assert asked[3].done()
    assert not asked[4].done()


async def test_those_that_share_a_processor_take_turns() -> None:
    random = Random(1)

    def took_s(running: int) -> float:
        return ALONE_S * (max(running / 2, 1) * random.uniform(1, 1.4) if random.random() < 0.9 else 1)

    for _ in range(20):
        assert 2 <= await commit(CommitTurns(), 990, took_s) <= 5
    assert 2 <= await commit(CommitTurns(), 20_000, took_s) <= 5


async def test_those_that_wait_for_the_network_do_not() -> None:
    random = Random(2)
    assert await commit(CommitTurns(), 500, lambda _: 5 * ALONE_S * random.uniform(1, 1.2)) == PARTITIONS


async def test_what_was_learnt_of_a_quicker_broker_is_forgotten() -> None:
    random, turns = Random(3), CommitTurns()
    await commit(turns, 500, lambda running: ALONE_S * max(running / 2, 1))
    assert await commit(turns, 1500, lambda _: 5 * ALONE_S * random.uniform(1, 1.2)) == PARTITIONS


async def test_one_that_hangs_does_not_count_as_slow_for_long() -> None:
    random, turns = Random(4), CommitTurns()
    hang = iter([20.0] * PARTITIONS)
    await commit(turns, 200, lambda _: next(hang, ALONE_S))
    assert await commit(turns, 500, lambda _: ALONE_S * random.uniform(1, 1.2)) == PARTITIONS


async def commit(turns: CommitTurns, transactions: int, took_s: Callable[[int], float]) -> float:
    """All partitions commit without a pause, each taking ``took_s`` of how many do; returns how many did in the end."""
    running: list[tuple[float, int, asyncio.Future[None], float]] = []
    waiting = deque(turns.ask() for _ in range(PARTITIONS))
    order, now_s, at_once = count(), 0.0, deque[int](maxlen=200)
    for _ in range(transactions):
        while waiting and waiting[0].done():
            seconds = took_s(len(running) + 1)
            heappush(running, (now_s + seconds, next(order), waiting.popleft(), seconds))
        at_once.append(len(running))
        now_s, _, turn, seconds = heappop(running)
        turns.give_back(turn, seconds)
        waiting.append(turns.ask())
    for *_, turn, _ in running:
        turns.give_back(turn)
    for turn in waiting:
        turns.give_back(turn)
    return sorted(at_once)[len(at_once) // 2]
