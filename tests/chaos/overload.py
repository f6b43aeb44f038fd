"""Overload: the services are replaced by slow ones, and a second generator is started."""

import asyncio
import statistics
from pathlib import Path
from random import Random

from tests.chaos.faults import Fault
from tests.chaos.stack import Replica, Stack

SURGE_RATE = 4_000
OVERLOAD = 10
_SLOW_SERVICE = Path(__file__).parent / "slow_service.py"
_MS_PER_ORDER = 8.0
"""Three replicas together process 375 orders a second, while 4,500 arrive with ``--rate 500``."""
_LASTS_S = 120.0
_SETTLED_AFTER_S = 30
# The memory of a full fetch of each partition and its outputs; unbounded queues would take hundreds of MB.
_GROWTH_ALLOWED_MB = 40.0


async def _overload(stack: Stack, _: Random) -> None:
    quick = stack.of("processor", "analytics")
    for replica in quick:
        await stack.stop(replica)
    slow = [_slow_one(stack, replica.service) for replica in quick]
    surge = stack.add("generator", GENERATOR_RATE=str(SURGE_RATE))
    await stack.all_healthy()
    stack.say(f"{SURGE_RATE:,} orders a second more for {_LASTS_S:.0f} s, {_MS_PER_ORDER} ms of work for each")
    before_s = {service: len(sizes) for service, sizes in stack.memory_mb.items()}
    sent, done = await _sent_and_done(stack)
    await asyncio.sleep(_LASTS_S)
    sent_now, done_now = await _sent_and_done(stack)
    ratio = (sent_now - sent) / max(1, done_now - done)
    stack.say(f"{sent_now - sent:,} orders came, {done_now - done:,} were processed: {ratio:.0f} times too many")
    if ratio < OVERLOAD:
        stack.problems.append(f"the overload was {ratio:.1f} times, not {OVERLOAD}")
    _check_memory(stack, before_s)
    _check_lag_is_shown(stack, await stack.probe.lag_of("processor"))
    for replica in (surge, *slow):
        await stack.remove(replica)
    for replica in quick:
        stack.start(replica)


OVERLOADED = Fault(f"{OVERLOAD} times more orders than can be taken", _overload)


def _slow_one(stack: Stack, service: str) -> Replica:
    return stack.add(service, _SLOW_SERVICE, SLOW_SERVICE=service, SLOW_SERVICE_MS=str(_MS_PER_ORDER))


async def _sent_and_done(stack: Stack) -> tuple[int, int]:
    ends, committed = await stack.probe.ends(), await stack.probe.committed()
    return sum(ends["processor"].values()), sum(committed["processor"].values())


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
