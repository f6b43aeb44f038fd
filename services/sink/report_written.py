"""Updates metrics and the log when items have been written durably."""

from collections.abc import Sequence

import structlog

from libs.runtime.logs import debugging
from services.sink.metrics_writer import Item, MetricsWriter
from services.sink.record_batcher import MetricBatch
from services.sink.sink_metrics import OutputMetrics

log = structlog.get_logger()


def report_written(
    writer: MetricsWriter[Item], batch: MetricBatch[Item], existing: Sequence[str], metrics: OutputMetrics, now_s: float
) -> None:
    """Report that ``batch`` is durable in the output of ``writer`` since ``now_s``, but for ``existing``, which it had already."""
    metrics.consumed.inc(len(batch.items) + len(batch.rejected))
    metrics.foreign.inc(len(batch.rejected) + len(existing))
    metrics.written.inc(len(batch.items) - len(existing))
    if debugging():
        for window in writer.windows_of(batch.items):
            log.debug("window written", output=metrics.output, **window._asdict())
    for end_s in writer.window_ends_of(batch.items):
        metrics.latency.observe(max(now_s - end_s, 0.0))
    if batch.rejected:
        log.error(
            "records that are not metrics were left out",
            output=metrics.output,
            count=len(batch.rejected),
            first=batch.rejected[0],
        )
    if existing:
        log.error(
            "metrics that the output has already were left out",
            output=metrics.output,
            count=len(existing),
            first=existing[0],
        )
