"""Records missing at the beginning of topics, because of retention or because only the newest orders are verified.

A record that may be derived from a missing one is not verified, and counted as such. Neither is an order whose result may have been
deleted. Two cases count as not verified: a window whose metric has too few orders, if the product's partition of ``late-orders`` may have
lost some of its orders; and an order without a result that is older than all that are left in its partition of ``orders-dlq`` or
``processed-orders``, if that partition has lost records. Everything else is verified in full.
Whether late orders were late is verified by the event time at each of them where their partition of ``processed-orders`` is read from its
first record; elsewhere by the event time at its end, if that is known. This relies on the following orderings of Kafka and the pipeline:

- A partition loses its oldest records first, and ``orders`` is stamped by the broker (KIP-32), in order.
- Records derived from an order have its timestamp, and an order's event time is at most a minute ahead of it. So a late order is at most
  a minute older than the end of its window.
- Unless they are deleted by request, records that are younger than ``retention.ms`` are there.
- Orders from one partition of ``orders`` to one partition of ``processed-orders`` keep their order, and all their dead letters
  go to the partition of ``orders-dlq`` with the same number.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from verification.partitioning import partition_of
from verification.strict_json import number, parse_object
from verification.topic_reader import Offsets, Record, TopicReader

_LOG_APPEND_TIME = 1
_MAX_AHEAD_S = 60
# Windows that close at the same moment are written in any order.
_AT_THE_SAME_MOMENT_MS = 2_000
# Late orders come from several partitions of `orders`, and one of these can be read a little ahead of the others.
_OUT_OF_ORDER_MS = 3_600_000


@dataclass(frozen=True)
class History:
    """The offsets at which reading begins, by topic without prefix, and limits of what may be missing before.

    ``kept`` has the first offsets that the topics still have. Between them and ``begins`` are only records that are derived from orders
    before those that are read. ``orders_missing_until_ms`` is the latest timestamp that a missing order may have;
    ``metrics_missing_until_s`` has the latest end of a window whose metric may be missing, by partition of ``product-metrics``;
    ``late_missing_until_s`` the latest timestamp that a missing late order may have, by partition of ``late-orders``. They are ``-inf`` where
    nothing is missing, and ``inf`` where anything may be.
    """

    begins: Mapping[str, Offsets] = field(default_factory=dict)
    kept: Mapping[str, Offsets] = field(default_factory=dict)
    orders_missing_until_ms: float = -math.inf
    metrics_missing_until_s: Mapping[int, float] = field(default_factory=dict)
    late_missing_until_s: Mapping[int, float] = field(default_factory=dict)

    def is_cut(self, topic: str, partition: int | None = None) -> bool:
        """Whether ``topic``, or a partition of it, no longer has its first records."""
        kept = self.kept.get(topic, {})
        return any(kept.values()) if partition is None else kept.get(partition, 0) > 0

    def has_all_orders_of(self, window_start_s: int) -> bool:
        """Whether no missing order can belong to a window with this start."""
        return window_start_s > self.orders_missing_until_ms / 1000 + _MAX_AHEAD_S

    def has_metric_of(self, product_id: str, window_end_s: int) -> bool:
        """Whether the metric of a window with this end cannot have been deleted."""
        return window_end_s > _of_product(self.metrics_missing_until_s, product_id)

    def has_late_orders_of(self, product_id: str, window_end_s: int) -> bool:
        """Whether no late order of a window with this end can have been deleted."""
        return window_end_s > _of_product(self.late_missing_until_s, product_id) + _MAX_AHEAD_S

    def latest_missing_metric_s(self, product_ids: Iterable[str] = ()) -> float:
        """The latest end of a window whose metric may be missing, in the partitions of these products; by default in all partitions.

        Products whose metrics are all missing are known to nobody, so a total of all products needs all partitions.
        """
        of_products = [_of_product(self.metrics_missing_until_s, each) for each in product_ids]
        return max(of_products or self.metrics_missing_until_s.values(), default=-math.inf)

    def lines_since_s(self, window_ends_s: Iterable[float]) -> float:
        """The end of the oldest window in the topic, if any metric may be missing there: an output has no use for older ones.

        ``window_ends_s`` are the windows' ends of the topic's metrics. ``-inf`` if nothing is missing.
        """
        is_whole = all(until_s == -math.inf for until_s in self.metrics_missing_until_s.values())
        return -math.inf if is_whole else min(window_ends_s, default=math.inf)


WHOLE = History()


def _of_product(missing_until_s: Mapping[int, float], product_id: str) -> float:
    """The value of the product's partition; ``-inf`` without partitions."""
    return missing_until_s[partition_of(product_id, len(missing_until_s))] if missing_until_s else -math.inf


async def find_history(reader: TopicReader, prefix: str, newest_orders: int | None) -> History:
    """Find the first offsets of the topics; of ``orders``, about ``newest_orders`` are to be read at most (None: all)."""
    orders = prefix + "orders"
    begins, ends = await reader.begins(orders), await reader.ends(orders)
    if newest_orders is not None:
        share = math.ceil(newest_orders / len(begins))
        begins = {partition: max(begin, ends[partition] - share) for partition, begin in begins.items()}
    missing_until_ms, kept_since_ms, all_ordered = -math.inf, math.inf, True
    for partition, begin in begins.items():
        first = await reader.first_record(orders, partition, begin, ends[partition])
        if begin:
            all_ordered = all_ordered and first is not None and first.timestamp_type == _LOG_APPEND_TIME
            missing_until_ms = max(missing_until_ms, _missing_before_ms(first))
            kept_since_ms = min(kept_since_ms, first.timestamp if first else math.inf)
        elif ends[partition]:
            kept_since_ms = 0
    all_begins, kept = {"orders": begins}, {}
    for topic in ("processed-orders", "orders-dlq", "late-orders", "product-metrics"):
        all_begins[topic] = kept[topic] = await reader.begins(prefix + topic)
        # Of orders in any order, each may have the oldest derived record.
        if newest_orders is not None and topic != "product-metrics" and all_ordered and 0 < kept_since_ms < math.inf:
            later = await reader.offsets_at(prefix + topic, int(kept_since_ms))
            all_begins[topic] = {each: max(begin, later[each]) for each, begin in kept[topic].items()}
    of_metrics = await find_metrics_missing_until_s(reader, prefix + "product-metrics", kept["product-metrics"])
    of_late_orders = await find_late_missing_until_s(reader, prefix + "late-orders", kept["late-orders"])
    return History(all_begins, kept, missing_until_ms, of_metrics, of_late_orders)


async def find_orders_whole_since_s(reader: TopicReader, orders: str, begins: Offsets, ends: Offsets) -> float:
    """The first start, in epoch seconds, of a window that no order before ``begins`` belongs to; ``-inf`` if nothing was deleted."""
    missing_until_ms = -math.inf
    for partition, begin in begins.items():
        if begin:
            first = await reader.first_record(orders, partition, begin, ends[partition])
            missing_until_ms = max(missing_until_ms, _missing_before_ms(first))
    return missing_until_ms / 1000 + _MAX_AHEAD_S


def _missing_before_ms(first: Record | None) -> float:
    """The latest timestamp of an order before the ``first`` one that is left in its partition."""
    return first.timestamp if first and first.timestamp_type == _LOG_APPEND_TIME else time.time() * 1000


async def find_late_missing_until_s(
    reader: TopicReader, topic: str, begins: Offsets, now_s: Callable[[], float] = time.time
) -> dict[int, float]:
    """For each partition the latest timestamp, in epoch seconds, of a late order that may have been before ``begins`` in ``topic``.

    ``-inf`` if nothing was deleted; ``inf`` if all of a partition was, and the topic's settings do not tell when it was written.
    """
    found = dict.fromkeys(begins, -math.inf)
    if not any(begins.values()):
        return found
    ends, expired_until_ms = await reader.ends(topic), await reader.expired_until_ms(topic, now_s())
    for partition, begin in begins.items():
        if not begin:
            continue
        first = await reader.first_record(topic, partition, begin, ends[partition])
        if first is None:
            found[partition] = expired_until_ms / 1000
        else:
            # What has expired can be younger than the first record that is left, and what was deleted by request can be unexpired.
            expired_ms = expired_until_ms if expired_until_ms < math.inf else -math.inf
            found[partition] = max(first.timestamp + _OUT_OF_ORDER_MS, expired_ms) / 1000
    return found


async def find_metrics_missing_until_s(
    reader: TopicReader, topic: str, begins: Offsets, now_s: Callable[[], float] = time.time
) -> dict[int, float]:
    """For each partition the latest end, in epoch seconds, of a window whose metric may have been before ``begins`` in ``topic``.

    ``-inf`` if nothing was deleted; ``inf`` if all metrics of a partition were, and the topic's settings do not tell when they were written.
    """
    found, empty = dict.fromkeys(begins, -math.inf), []
    ends = await reader.ends(topic)
    for partition, begin in begins.items():
        if not begin:
            continue
        first_ms = None
        async for records in reader.read(topic, {partition: begin}, {partition: ends[partition]}):
            for record in records:
                end_s = _window_end_s(record.value)
                if end_s == -math.inf:
                    continue  # a record of another program does not say which metrics came before it
                first_ms = record.timestamp if first_ms is None else first_ms
                if record.timestamp <= first_ms + _AT_THE_SAME_MOMENT_MS:
                    found[partition] = max(found[partition], end_s)
        if first_ms is None:
            empty.append(partition)
    if empty:
        # A metric is written after its window's end, but for the minute that event time can be ahead.
        expired_until_s = await reader.expired_until_ms(topic, now_s()) / 1000
        found |= dict.fromkeys(empty, expired_until_s + _MAX_AHEAD_S)
    return found


def _window_end_s(value: bytes | None) -> float:
    """The end of the window in a metric's value; ``-inf`` if it has none."""
    try:
        end_s = number(parse_object(value).get("window_end"))
    except ValueError:
        return -math.inf
    return -math.inf if end_s is None else end_s
