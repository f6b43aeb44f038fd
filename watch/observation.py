"""The data of one observation of Kafka."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from libs.events import product_metrics
from libs.events.money import dollars_of
from libs.events.watermarks import Watermark

_MAX_EPOCH_S = 10**11  # datetime cannot represent later times

Offsets = Mapping[int, int]
"""Offset by partition."""


class Metric(NamedTuple):
    """One product's total in one closed window; times in epoch seconds, money in dollars."""

    window_start: int
    window_end: int
    product_id: str
    order_count: int
    total_revenue: float
    avg_order_value: float


def decode_metric(value: bytes | None) -> Metric | None:
    """The metric in a record of ``product-metrics``; None if it is invalid."""
    try:
        row = product_metrics.decode_metric(value)
    except ValueError:
        return None
    if row.window_end >= _MAX_EPOCH_S:
        return None
    return Metric(*row[:4], dollars_of(row.revenue_cents), dollars_of(row.average_cents))


class Observation(NamedTuple):
    """The offsets at a time, and the records since the last observation. Topics and groups are without prefix."""

    at_s: float
    """When, in epoch seconds."""
    begins: Mapping[str, Offsets]
    """The first offsets, by topic."""
    ends: Mapping[str, Offsets]
    """The end offsets of committed records, by topic."""
    committed: Mapping[str, Offsets]
    """The offsets that the group which reads a topic has committed, by topic."""
    members: Mapping[str, int]
    """The number of processes of each group that has members."""
    marks: list[Watermark]
    metrics: list[Metric]
    dead_letters: Counter[str]
    """By reason."""
    rejected: int | None
    """Dead letters of records of ``orders``; others were processed orders. None if not all could be read."""
    late: int
    unread: Counter[str]
    """Skipped offsets, by topic; at least as many as skipped records."""
    cut_until_s: int | None = None
    """Windows that end then or before may lack metrics, which may have been skipped; None if there are none."""
    all_metrics_read: bool = True
    """False if not all metrics up to the end could be read in time; the next observation has the rest."""
    by_output: Mapping[str, Offsets] = MappingProxyType({})
    """The sink's committed offsets for each of its outputs; none for one that was never written."""
    blocked: Mapping[str, int] = MappingProxyType({})
    """Offsets in and behind open transactions, by topic: no reader of committed records gets them yet."""

    @property
    def in_database(self) -> Offsets:
        """The sink's committed offsets for its database, if it also writes a file."""
        return self.by_output["database"] if self.by_output.get("file") else {}
