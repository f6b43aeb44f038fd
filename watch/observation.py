"""What one look at Kafka brings."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import orjson

from libs.events.watermarks import Watermark

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
    """The metric in a record of ``product-metrics``; None if it is none: a view shows what it can."""
    try:
        fields = orjson.loads(value or b"")
        return Metric(*(fields[name] for name in Metric._fields))
    except (ValueError, KeyError, TypeError):
        return None


class Observation(NamedTuple):
    """Offsets as they stood at ``at_s`` (epoch seconds), and the records that came since the last look.

    ``begins``, ``ends`` (of committed records) and ``committed`` (by the group that reads it) are by topic, without
    prefix. ``rejected`` counts the dead letters that had been orders (others were processed orders); None when not all
    could be read. ``unread`` counts, by topic, the offsets that were too many to be read: at least as many as records.
    """

    at_s: float
    begins: Mapping[str, Offsets]
    ends: Mapping[str, Offsets]
    committed: Mapping[str, Offsets]
    marks: list[Watermark]
    metrics: list[Metric]
    dead_letters: Counter[str]
    rejected: int | None
    late: int
    unread: Counter[str]
