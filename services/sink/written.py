"""What is told of metrics once they are safe in the output."""

from collections.abc import Sequence

import orjson
import structlog

from libs.runtime.logs import debugging
from libs.runtime.metrics import SinkMetrics

log = structlog.get_logger()

_WINDOW = ("window_start", "window_end", "product_id")


def tell_written(lines: Sequence[bytes], metrics: SinkMetrics, now_s: float) -> None:
    """These lines are safe since ``now_s``."""
    metrics.written.inc(len(lines))
    debug = debugging()
    ends_s = set()
    for line in lines:
        fields = orjson.loads(line)
        if debug:
            log.debug("window written", **{name: fields.get(name) for name in _WINDOW})
        # What has no such field was not written by the analytics; it is kept as it is all the same.
        if type(end_s := fields.get("window_end")) in (int, float):
            ends_s.add(end_s)
    for end_s in ends_s:
        metrics.latency.observe(max(now_s - end_s, 0.0))
