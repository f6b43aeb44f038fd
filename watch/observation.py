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
    """The offsets at ``at_s`` (epoch seconds), and the records since the last observation.

    ``begins``, ``ends`` (of committed records) and ``committed`` (by the group that reads it) are by topic, without
    prefix; ``members`` counts the processes of those groups that have members, by group, without prefix. ``rejected`` counts the dead letters of records of ``orders`` (others were processed orders); None if not all
    could be read. ``unread`` counts, by topic, the skipped offsets, which are at least as many as records. Windows
    that end at ``cut_until_s`` or before may lack metrics, which may have been skipped; None if there are none.
    ``all_metrics_read`` is False if not all metrics up to the end could be read in time; the next observation has the rest.
    ``in_database`` has the sink's committed offsets for its database, if it also writes a file. ``by_output`` has those of
    both outputs, and none for one that was never written. ``blocked`` counts, by topic, the offsets in and behind open
    transactions, which no reader of committed records gets yet.
    """

    at_s: float
    begins: Mapping[str, Offsets]
    ends: Mapping[str, Offsets]
    committed: Mapping[str, Offsets]
    members: Mapping[str, int]
    marks: list[Watermark]
    metrics: list[Metric]
    dead_letters: Counter[str]
    rejected: int | None
    late: int
    unread: Counter[str]
    cut_until_s: int | None = None
    all_metrics_read: bool = True
    in_database: Offsets = MappingProxyType({})
    by_output: Mapping[str, Offsets] = MappingProxyType({})
    blocked: Mapping[str, int] = MappingProxyType({})
