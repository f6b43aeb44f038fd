"""Updates metrics and the debug log when items have been written durably."""

from collections.abc import Sequence

import structlog

from libs.runtime.logs import debugging
from services.sink.metrics_writer import Item, MetricsWriter
from services.sink.sink_metrics import OutputMetrics

log = structlog.get_logger()


def report_written(writer: MetricsWriter[Item], items: Sequence[Item], metrics: OutputMetrics, now_s: float) -> None:
    """Report that ``items`` are durable in the output of ``writer`` since ``now_s``."""
    if debugging():
        for window in writer.windows_of(items):
            log.debug("window written", output=metrics.output, **window._asdict())
    metrics.written.inc(len(items))
    for end_s in writer.window_ends_of(items):
        metrics.latency.observe(max(now_s - end_s, 0.0))
