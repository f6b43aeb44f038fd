"""Samples of a run over time, and the figures computed from them. Without I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Less than the first fetch, and more than a client receives before it (metadata and group coordination).
FIRST_RECORDS_BYTES = 64 * 1024
STEADY_FROM, STEADY_TO = 0.3, 0.9


class Sample(NamedTuple):
    """The state of a run at one time.

    ``visible`` has the last stable offset of each partition of the monitored topics.
    """

    at_s: float
    cpu_s: float
    rss_bytes: int
    received_bytes: int
    visible: tuple[int, ...]


@dataclass(frozen=True)
class Figures:
    """The figures of one run; speeds in orders per second."""

    seconds: float
    whole_per_s: float
    steady_per_s: float | None
    cpu_s_per_million: float
    peak_rss_mib: float
    start_s: float


def figures(samples: Sequence[Sample], started_s: float, ended_s: float, orders: int, *, by_output: bool) -> Figures:
    """The figures of a run of ``orders`` whose last output was committed at ``ended_s``.

    The time starts with the first records received. The steady speed is measured from 30 % to 90 % of the visible records
    (``by_output``) or of the received bytes.
    """
    first_s = began(samples)
    within = [sample for sample in samples if first_s <= sample.at_s <= ended_s]
    if len(within) < 2:
        raise ValueError("there is no output")
    seconds = ended_s - first_s
    at_start, at_end = within[0], within[-1]
    progress: Callable[[Sample], float] = _visible if by_output else _received
    return Figures(
        seconds=seconds,
        whole_per_s=orders / seconds,
        steady_per_s=_steady(within, progress, orders),
        cpu_s_per_million=(at_end.cpu_s - at_start.cpu_s) / orders * 1e6,
        peak_rss_mib=max(sample.rss_bytes for sample in samples) / 2**20,
        start_s=first_s - started_s,
    )


def began(samples: Sequence[Sample]) -> float:
    """The time at which the first records were received: that of the last sample before them."""
    before = samples[0].at_s
    for sample in samples:
        if sample.received_bytes >= FIRST_RECORDS_BYTES:
            return before
        before = sample.at_s
    raise ValueError("the contender has received no records")


def visible_since(samples: Sequence[Sample], ends: Sequence[int]) -> float:
    """The time at which the last stable offsets reached ``ends``, the offsets after the last outputs."""
    for sample in samples:
        if all(seen >= end for seen, end in zip(sample.visible, ends, strict=True)):
            return sample.at_s
    raise ValueError("not all outputs have been seen")


def _visible(sample: Sample) -> float:
    return float(sum(sample.visible))


def _received(sample: Sample) -> float:
    return float(sample.received_bytes)


def _steady(samples: Sequence[Sample], progress: Callable[[Sample], float], orders: int) -> float | None:
    """The steady speed; None if there are too few samples."""
    first, total = progress(samples[0]), progress(samples[-1]) - progress(samples[0])
    if total <= 0:
        return None
    shares = [(progress(sample) - first) / total for sample in samples]
    start = next(number for number, share in enumerate(shares) if share >= STEADY_FROM)
    end = next(number for number, share in enumerate(shares) if share >= STEADY_TO)
    seconds = samples[end].at_s - samples[start].at_s
    return orders * (shares[end] - shares[start]) / seconds if seconds > 0 else None
