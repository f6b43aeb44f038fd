"""Runs one target, counts its crashes, and monitors the memory of the process."""

import resource
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.fuzz.target import Tally
from tests.fuzz.targets import TARGETS

# By then, everything that is kept between inputs (caches, compiled patterns, the allocator's reserve) is allocated.
_WARM_UP = 0.2
_EXAMPLES = 3
_REPORT_EVERY = 10_000


@dataclass
class Outcome:
    """The outcome of a target; ``growth_mib`` is the growth of the peak memory after the warm-up."""

    target: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    growth_mib: float = 0.0
    examples: list[str] = field(default_factory=list)


def run(name: str, seed: str, count: int, progress: Callable[[Outcome], None] = lambda _: None) -> Outcome:
    """Feed the target ``name`` about its share of ``count`` inputs; after a crash, count it and recreate the target."""
    kind, outcome = TARGETS[name], Outcome(name)
    wanted = max(1, round(count * kind.share))
    target = kind.make(Random(f"{seed} {name}"))
    warm_mib: float | None = None
    reported = 0
    while outcome.inputs < wanted:
        try:
            tally = target.batch()
        except Exception:  # noqa: BLE001 - any exception is a finding
            outcome.crashes += 1
            if len(outcome.examples) < _EXAMPLES:
                outcome.examples.append(traceback.format_exc(limit=-4))
            target, tally = kind.make(Random(f"{seed} {name} {outcome.inputs} {outcome.crashes}")), Tally(0, 1)
        outcome.inputs += tally.inputs
        outcome.accepted += tally.accepted
        outcome.refused += tally.refused
        if warm_mib is None and outcome.inputs >= wanted * _WARM_UP:
            warm_mib = _peak_mib()
        if outcome.inputs - reported >= _REPORT_EVERY:
            reported = outcome.inputs
            progress(outcome)
    outcome.growth_mib = round(_peak_mib() - (warm_mib or 0.0), 1)
    return outcome


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
