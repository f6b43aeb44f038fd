"""More orders than the services can take: their share of the processor is cut down, and a second generator comes in."""

import asyncio
import statistics
import time
from random import Random

from tests.chaos.faults import Fault
from tests.chaos.stack import Stack

SURGE_RATE = 4_000
OVERLOAD = 10
_LASTS_S = 120.0
_SLICE_S = 0.01
_PERIODS_S = (0.05, 1.2)
_SETTLED_AFTER_S = 30
# What a full fetch of each partition and the outputs of it take; orders piling up would take hundreds.
_GROWTH_ALLOWED_MB = 40.0
_THROTTLED = ("processor", "analytics")


async def _overload(stack: Stack, random: Random) -> None:
    surge = stack.add("generator", GENERATOR_RATE=str(SURGE_RATE))
    surge.leased = True
    before_s = {service: len(sizes) for service, sizes in stack.memory_mb.items()}
    sent, done = await _sent_and_done(stack)
    stack.say(f"{SURGE_RATE:,} orders a second more for {_LASTS_S:.0f} s, and hardly any time to work for the services")
    try:
        async with asyncio.timeout(_LASTS_S):
            await _throttle(stack, sent, done)
    except TimeoutError:
        pass
    finally:
        for replica in stack.of(*_THROTTLED):
            replica.process.resume()
    sent_now, done_now = await _sent_and_done(stack)
    ratio = (sent_now - sent) / max(1, done_now - done)
    stack.say(f"{sent_now - sent:,} orders came, {done_now - done:,} were processed: {ratio:.0f} times too many")
    if ratio < OVERLOAD:
        stack.problems.append(f"the overload was {ratio:.1f} times, not {OVERLOAD}")
    _check_memory(stack, before_s)
    _check_lag_is_shown(stack, await stack.probe.lag_of("processor"))
    await stack.remove(surge)


OVERLOADED = Fault(
    f"{OVERLOAD} times more orders than can be taken", _overload, outage_s=_LASTS_S, recovery_limit_s=180.0
)


async def _sent_and_done(stack: Stack) -> tuple[int, int]:
    ends, committed = await stack.probe.ends(), await stack.probe.committed()
    return sum(ends["processor"].values()), sum(committed["processor"].values())


async def _throttle(stack: Stack, sent: int, done: int) -> None:
    """Let the services work for slices of time, as seldom as keeps them at a little less than a tenth of what comes.

    A slice is long enough for a step of a transaction, and the slices close enough to end it in time.
    """
    period_s, look_at_s = 0.4, time.monotonic()
    while True:
        replicas = [each.process for each in stack.of(*_THROTTLED)]
        for process in replicas:
            process.resume()
        await asyncio.sleep(_SLICE_S)
        for process in replicas:
            process.pause()
        await asyncio.sleep(period_s - _SLICE_S)
        if time.monotonic() > look_at_s:
            look_at_s = time.monotonic() + 2.0
            sent_now, done_now = await _sent_and_done(stack)
            too_fast = (done_now - done) * (OVERLOAD + 2) > sent_now - sent
            period_s = min(max(period_s * (1.3 if too_fast else 0.8), _PERIODS_S[0]), _PERIODS_S[1])


def _check_memory(stack: Stack, before_s: dict[str, int]) -> None:
    for service, sizes in stack.memory_mb.items():
        during = sizes[before_s.get(service, 0) + _SETTLED_AFTER_S :]
        third = len(during) // 3
        growth_mb = statistics.median(during[-third:]) - statistics.median(during[:third])
        stack.say(f"memory of the {service}: between {min(during):.0f} and {max(during):.0f} MB")
        if growth_mb > _GROWTH_ALLOWED_MB:
            stack.problems.append(f"the {service} grew by {growth_mb:.0f} MB under overload")


def _check_lag_is_shown(stack: Stack, lag: int) -> None:
    logged = [each.process.events() for each in stack.of("processor")]
    shown = sum(next((line["lag"] for line in reversed(lines) if "lag" in line), 0) for lines in logged)
    stack.say(f"lag {lag:,} orders, {shown:,} by the processors' last progress lines")
    if not lag / 2 < shown:
        stack.problems.append(f"the processors' logs show a lag of {shown:,} where it is {lag:,}")
