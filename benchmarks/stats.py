"""Medians, ratios and their spread over rounds. Without I/O."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """The median, minimum, maximum and number of some rounds."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread | None:
    """None for no values."""
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def ratios(values: Mapping[int, float], reference: Mapping[int, float]) -> Spread | None:
    """The ratio to ``reference`` round by round, both keyed by round; rounds that lack either do not count.

    Disturbances of the machine affect both in the same round, so ratios by round are more exact than a ratio of two medians.
    """
    return spread([value / reference[number] for number, value in values.items() if reference.get(number)])
