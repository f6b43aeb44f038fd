"""What is told of metrics once they are safe in the output."""

from collections.abc import Iterable

import structlog

from libs.runtime.logs import debugging
from libs.runtime.metrics import OutputMetrics
from services.sink.metrics_writer import Window

log = structlog.get_logger()


def tell_written(windows: Iterable[Window], metrics: OutputMetrics, now_s: float) -> None:
    """Metrics of these windows are safe since ``now_s``."""
    debug = debugging()
    count = 0
    ends_s: set[float] = set()
    for window in windows:
        count += 1
        if debug:
            log.debug("window written", output=metrics.output, **window._asdict())
        end_s = window.window_end
        if isinstance(end_s, int | float) and not isinstance(end_s, bool):
            ends_s.add(end_s)
    metrics.written.inc(count)
    for end_s in ends_s:
        metrics.latency.observe(max(now_s - end_s, 0.0))
