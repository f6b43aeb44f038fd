"""Faults of all connections at once: cut, half-open, or to a broker that is paused."""

import asyncio
from random import Random

from tests.chaos.faults import SESSION_S, Fault
from tests.chaos.stack import Stack

REQUEST_TIMEOUT_S = 40.0
"""aiokafka's default, which all clients here have."""

_BEYOND_SESSION_S = (SESSION_S + 2, SESSION_S + 5)
_BEYOND_TIMEOUT_S = (REQUEST_TIMEOUT_S + 2, REQUEST_TIMEOUT_S + 5)


async def _cut(stack: Stack, random: Random) -> None:
    stack.say(f"{stack.proxy.cut_all()} connections cut")


CONNECTIONS_CUT = Fault("all connections cut at once", _cut)


def half_open(between_s: tuple[float, float], *, delivered: bool) -> Fault:
    """Block all traffic for a while without closing connections; then deliver all of it (``delivered``) or nothing."""

    async def inject(stack: Stack, random: Random) -> None:
        lasts_s = random.uniform(*between_s)
        then = "then everything is delivered" if delivered else "then all connections are cut"
        stack.say(f"nothing gets through for {lasts_s:.1f} s, {then}")
        stack.proxy.stall()
        await asyncio.sleep(lasts_s)
        if not delivered:
            stack.proxy.cut_all()
        stack.proxy.resume()

    return Fault("connections half-open", inject)


HALF_OPEN = [
    half_open(_BEYOND_SESSION_S, delivered=True),
    half_open(_BEYOND_TIMEOUT_S, delivered=True),
    half_open(_BEYOND_TIMEOUT_S, delivered=False),
]


async def _pause_broker(stack: Stack, random: Random) -> None:
    lasts_s = random.uniform(*_BEYOND_TIMEOUT_S)
    stack.say(f"SIGSTOP of the broker for {lasts_s:.1f} s")
    stack.broker.pause()
    try:
        await asyncio.sleep(lasts_s)
    finally:
        stack.broker.resume()


BROKER_PAUSED = Fault("broker paused beyond the request timeout", _pause_broker)
