"""Medians, ratios and their spread over rounds. Nothing here does I/O."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some rounds, their lowest and highest, and how many they were."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread | None:
    """None for no values."""
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def ratios(values: Mapping[int, float], reference: Mapping[int, float]) -> Spread | None:
    """The ratio to ``reference`` round by round, both keyed by round; rounds that lack either do not count.

    What disturbs a machine for a minute disturbs both, so a round's ratio says more than the ratio of two medians.
    """
    return spread([value / reference[number] for number, value in values.items() if reference.get(number)])
