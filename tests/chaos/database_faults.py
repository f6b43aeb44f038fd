"""Faults of the sink's database, and of the sinks that write into it."""

import asyncio
from random import Random

from services.sink.database.database_writer import LEASE_S
from tests.chaos.faults import Fault, resume
from tests.chaos.stack import Stack
from tests.databases.proxy import Cut
from tests.integration.services import eventually

_DOWN_S = (0.0, 4.0)
_FULL_S = (3.0, 8.0)
_CUTS = 4


async def _kill(stack: Stack, random: Random) -> None:
    down_s = random.uniform(*_DOWN_S)
    stack.say(f"SIGKILL of PostgreSQL, back in {down_s:.1f} s")
    await asyncio.to_thread(stack.database.server.kill)
    await asyncio.sleep(down_s)
    await asyncio.to_thread(stack.database.server.start)


DATABASE_KILLED = Fault("PostgreSQL killed", _kill)


async def _restart(stack: Stack, random: Random) -> None:
    stack.say("PostgreSQL restarted")
    await asyncio.to_thread(stack.database.server.restart)


DATABASE_RESTARTED = Fault("PostgreSQL restarted", _restart)


async def _cut(stack: Stack, random: Random) -> int:
    """Cut connections at a COMMIT, some before the server receives it, some before the client receives the response."""
    made = stack.database.cuts_made
    before = len(made)

    def cut() -> Cut | None:
        return random.choice(("before", "after", None)) if len(made) < before + _CUTS else None

    stack.database.cut_at_commits(cut)
    await eventually(lambda: len(made) >= before + _CUTS, what="connections are cut")
    stack.database.cut_at_commits(lambda: None)
    stack.say(f"connections cut in mid-COMMIT: {', '.join(made[before:])}")
    return _CUTS


CONNECTIONS_CUT = Fault("connections cut in mid-COMMIT", _cut)


async def _fill(stack: Stack, random: Random) -> None:
    full_s = random.uniform(*_FULL_S)
    stack.say(f"no space left in the database for {full_s:.1f} s")
    await stack.database.fill()
    await stack.has_effect(stack.database.has_refused, "the database refuses rows")
    await asyncio.sleep(full_s)
    await stack.database.make_space()


DATABASE_FULL = Fault("no space left in the database", _fill)


async def _pause_sink(stack: Stack, random: Random) -> None:
    """Pause one of two sinks until the other one has taken over the database.

    The paused sink keeps the lock on the file, so the file is not written meanwhile.
    """
    sink = await stack.acquire(random, "sink")
    paused_s = random.uniform(LEASE_S + 1, LEASE_S + 4)
    stack.say(f"SIGSTOP {sink} for {paused_s:.1f} s")
    sink.process.pause()
    await resume(stack, sink, paused_s)


SINK_PAUSED = Fault("sink paused beyond its acquire", _pause_sink)
