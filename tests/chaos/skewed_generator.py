"""The generator with a clock that is ahead by CLOCK_AHEAD_SECONDS, or behind if negative."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.events.rights import GENERATOR
from libs.events.topics import ORDERS
from libs.runtime.life_cycle import Context, run_service
from services.generator.event_generator import run
from services.generator.generator_settings import GeneratorSettings


class _SkewedClock:
    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def now_s(self) -> float:
        return time.time() + self._ahead_s


async def run_skewed(context: Context[GeneratorSettings]) -> None:
    """As the generator's own, with another clock."""
    await run(replace(context, clock=_SkewedClock(float(os.environ["CLOCK_AHEAD_SECONDS"]))))


if __name__ == "__main__":
    run_service("generator", GeneratorSettings, [ORDERS], run_skewed, lambda _: GENERATOR)
