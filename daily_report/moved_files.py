"""Metrics of a span that were in finished files which were moved away, as files may be, the oldest ones first."""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from libs.events.product_metrics import MetricRow
from services.sink.file.finished_files import finished_files
from verification.metrics import Metric, PlacedMetric
from verification.output_damage import moved_away
from verification.output_file import live_begins


def moved_with_files(
    path: Path, topic: str, written: Iterable[MetricRow], placed: Iterable[PlacedMetric]
) -> set[MetricRow]:
    """The metrics that the files at ``path`` lack because the oldest finished ones may have been moved away.

    ``written`` has the span's metrics in the files, ``placed`` those in ``topic``. The verification decides by all files. Here only those of
    the span are read: a file with earlier windows that is still there shows that no later one was moved away.
    """
    begins = live_begins(path, topic)
    left_until_s = min((file.windows_begin_before_s for file in finished_files(path)), default=math.inf)
    moved = moved_away(Counter(map(Metric._make, written)), placed, begins)
    return {MetricRow._make(metric) for metric in moved if metric.window_start < left_until_s}
