"""Faults at the two ends of the pipeline: the sink's disk, and the clocks of senders."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.chaos.crashing_sink import FINISHING_STEPS, STEPS
from tests.chaos.faults import Fault
from tests.chaos.stack import Replica, Stack

_HERE = Path(__file__).parent
# These faults take effect at the sink's next write; together with other faults there may be no write for long.
_FULL_S = (3.0, 10.0)
_SKEWED_S = (3.0, 6.0)
_SKEWED_RATE = 300
# The orders of one are late. Those of the other, since up to a minute ahead is accepted, must not make any order late.
_ALWAYS_AHEAD_S = (-40, 50)
_ALSO_AHEAD_S = (-3600, -40, -10, -2, 2, 10, 50, 90, 3600)


def sink_killed_at(*steps: str) -> Fault:
    """Kill the sink (SIGKILL) at each of these steps, with a restart after each."""

    async def inject(stack: Stack, random: Random) -> int:
        sinks = await stack.acquire_all(random, "sink")  # all, or another one would write instead
        await asyncio.gather(*map(stack.stop, sinks))
        for step in random.sample(steps, len(steps)):
            stack.say(f"sink killed {step}")
            crashing = stack.add("sink", _HERE / "crashing_sink.py", wanted=False, CRASHING_SINK_STEP=step)
            problems = len(stack.problems)
            await stack.ends_with({-signal.SIGKILL}, crashing)
            stack.replicas.remove(crashing)
            if len(stack.problems) > problems:
                break  # if the sink has stopped writing, the other steps would wait as long, too
        _start(stack, sinks)
        return len(steps)

    return Fault("sink killed at a step", inject)


def _start(stack: Stack, sinks: Sequence[Replica]) -> None:
    for sink in sinks:
        stack.start(sink)
        sink.leased = False


SINK_STEPS = [sink_killed_at(step) for step in STEPS]
ALL_SINK_STEPS = sink_killed_at(*STEPS)
FINISHING_STEPS_OF_SINK = sink_killed_at(*FINISHING_STEPS)


async def _fill_disk(stack: Stack, random: Random) -> None:
    sinks = await stack.acquire_all(random, "sink")
    await asyncio.gather(*map(stack.stop, sinks))
    marker = stack.pipeline.directory / "disk-is-full"
    marker.touch()
    full = stack.add("sink", _HERE / "full_disk_sink.py", DISK_IS_FULL_WHILE=str(marker))
    full.leased = True
    full_s = random.uniform(*_FULL_S)
    stack.say(f"no space left under {stack.pipeline.output.name} for {full_s:.1f} s")
    await full.process.wait_for("interrupted", output="file")
    await asyncio.sleep(full_s)
    marker.unlink()

    async def has_restarted() -> None:
        await asyncio.sleep(random.uniform(*_FULL_S))
        await stack.remove(full)
        _start(stack, sinks)

    stack.run_in_background(has_restarted())


DISK_FULL = Fault("no space left for the output", _fill_disk)


async def _skew_clocks(stack: Stack, random: Random) -> int:
    offsets_s = [*random.sample(_ALWAYS_AHEAD_S, len(_ALWAYS_AHEAD_S)), random.choice(_ALSO_AHEAD_S)]
    for ahead_s in offsets_s:
        await _skew_clock(stack, random, ahead_s)
    return len(offsets_s)


async def _skew_clock(stack: Stack, random: Random, ahead_s: int) -> None:
    lasts_s = random.uniform(*_SKEWED_S)
    stack.say(f"a second generator by a clock {ahead_s:+} s off, for {lasts_s:.1f} s")
    entry_file = _HERE / "skewed_generator.py"
    rate = str(_SKEWED_RATE)
    skewed = stack.add("generator", entry_file, CLOCK_AHEAD_SECONDS=str(ahead_s), GENERATOR_RATE=rate)
    skewed.leased = True
    await skewed.process.wait_for("generation starts")
    await asyncio.sleep(lasts_s)
    await stack.remove(skewed)
    sent = next((line["sent"] for line in skewed.process.events() if line.get("event") == "all orders sent"), 0)
    if not sent:
        stack.problems.append(f"{skewed}, by a clock {ahead_s:+} s off, has sent no order")


CLOCK_SKEWED = Fault("a generator's clock ahead or behind", _skew_clocks)
