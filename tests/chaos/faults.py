"""The type of a fault, and the faults of processes: killed, paused, terminated, scaled."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from libs.runtime.timing import SESSION_TIMEOUT_MS
from tests.chaos.stack import Replica, Stack

SESSION_S = SESSION_TIMEOUT_MS / 1000


@dataclass(frozen=True)
class Fault:
    """A fault that can be injected.

    ``inject`` returns as soon as the pipeline can recover; it passes later clean-up to ``Stack.run_in_background``. It
    returns the number of faults if that is not 1.
    """

    name: str
    inject: Callable[[Stack, Random], Awaitable[int | None]]


def killed(service: str) -> Fault:
    """Kill a replica (SIGKILL), and restart it at once, soon, or after its session timeout."""

    async def inject(stack: Stack, random: Random) -> None:
        replica = await stack.acquire(random, service)
        down_s = random.choice([0.0, random.uniform(0, 2), random.uniform(SESSION_S, SESSION_S + 2)])
        stack.say(f"SIGKILL {replica}, back in {down_s:.1f} s")
        await stack.kill(replica)

        async def back() -> None:
            await asyncio.sleep(down_s)
            stack.start(replica)
            replica.leased = False

        stack.run_in_background(back())

    return Fault(f"{service} killed", inject)


async def _pause(stack: Stack, random: Random) -> None:
    for service in ("processor", "analytics"):
        replica = await stack.acquire(random, service)
        paused_s = random.uniform(SESSION_S + 1, SESSION_S + 4)
        stack.say(f"SIGSTOP {replica} for {paused_s:.1f} s")
        replica.process.pause()
        stack.run_in_background(resume(stack, replica, paused_s))


async def resume(stack: Stack, replica: Replica, after_s: float) -> None:
    """Resume a paused replica, also if the wait is cancelled, and release it."""
    try:
        await asyncio.sleep(after_s)
    finally:
        stack.say(f"SIGCONT {replica}")
        replica.process.resume()
        replica.leased = False


PAUSED = Fault("paused beyond the session (zombie)", _pause)


async def _terminate(stack: Stack, random: Random) -> None:
    replica = await stack.acquire(random, "processor", "analytics", "sink", "generator")
    stack.say(f"SIGTERM {replica}")
    await stack.stop(replica)

    async def back() -> None:
        await asyncio.sleep(random.uniform(0, 2))
        stack.start(replica)
        replica.leased = False

    stack.run_in_background(back())


TERMINATED = Fault("asked to stop in mid-batch (SIGTERM)", _terminate)


async def _scale(stack: Stack, random: Random) -> None:
    # Replicas that a fault has stopped count, too, since they are restarted.
    wanted = {1: 3, 3: 2}.get(_count(stack, "processor"), 1)
    for service in ("processor", "analytics"):
        stack.say(f"{service}={wanted}")
        while _count(stack, service) > wanted:
            await stack.remove(await stack.acquire(random, service))
        while _count(stack, service) < wanted:
            stack.add(service)


def _count(stack: Stack, service: str) -> int:
    return sum(each.service == service for each in stack.replicas)


SCALED = Fault("replicas added and removed (1, 3, 2)", _scale)
