"""Compares ``product-metrics`` with an output: the file or the database."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from verification.history import WHOLE, History
from verification.metrics import Metric, PlacedMetric
from verification.report import Damage, NotVerified, Report
from verification.window_sums import describe_window


class OutputDamage(NamedTuple):
    """The differences between an output and the topic, as the report names them."""

    missing: Damage
    duplicated: Damage
    unexpected: Damage
    behind: Damage


def check_output(
    written: Counter[Metric],
    metrics: Counter[Metric],
    newer: Counter[Metric],
    kinds: OutputDamage,
    report: Report,
    history: History = WHOLE,
) -> None:
    """Compare an output with the topic: it has to have each of ``metrics`` once, each of ``newer`` at most once."""
    for metric in (metrics - written).elements():
        report.found(kinds.missing, describe_window(metric.window))
    for metric, count in (written - metrics - newer).items():
        known = metric in metrics or metric in newer
        if not known and count == 1 and not history.has_metric_of(metric.product_id, metric.window_end):
            report.not_verified[NotVerified.METRIC] += 1
            continue
        report.found(kinds.duplicated if known else kinds.unexpected, describe_window(metric.window), count)


def not_reached_by_sink(
    written: Counter[Metric],
    placed: Iterable[PlacedMetric],
    committed: Mapping[int, int],
    ends: Mapping[int, int],
) -> Counter[Metric]:
    """The metrics before ``ends`` that an output does not have because its sink has not read so far.

    The sink has written all metrics of a partition before the offset that it has ``committed``, and before any metric that
    is in the output: it writes in the order of offsets. ``placed`` has the metrics of each partition in this order.
    """
    left = written.copy()
    after_last: dict[int, list[Metric]] = {}
    for partition, offset, metric in placed:
        if left[metric] > 0:
            left[metric] -= 1
            after_last.pop(partition, None)
        elif committed.get(partition, 0) <= offset < ends[partition]:
            after_last.setdefault(partition, []).append(metric)
    return Counter(metric for metrics in after_last.values() for metric in metrics)


def moved_away(
    written: Counter[Metric], placed: Iterable[PlacedMetric], live_begins: Mapping[int, int]
) -> Counter[Metric]:
    """The metrics that may have been in finished files, if the oldest ones are no longer there.

    These are the metrics of a partition before its first one in the files that are left, and before ``live_begins``, where the live file
    begins. ``placed`` has the metrics of each partition in the order of offsets, in which the sink writes them.
    """
    left = written.copy()
    found: set[int] = set()
    moved: Counter[Metric] = Counter()
    for partition, offset, metric in placed:
        if left[metric] > 0:
            left[metric] -= 1
            found.add(partition)
        elif partition not in found and offset < live_begins.get(partition, 0):
            moved[metric] += 1
    return moved
