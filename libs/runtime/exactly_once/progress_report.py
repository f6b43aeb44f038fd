"""A periodic log line with the figures of `/metrics`."""

import time

import structlog

from libs.runtime.clock import Clock
from libs.runtime.metrics import StageMetrics, totals, values_of

log = structlog.get_logger()

EVERY_S = 10.0


class Report:
    """Totals since the start, and rates since the last line."""

    def __init__(self, metrics: StageMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._reported: dict[str, float] = {}
        self._reported_at_s = time.monotonic()

    def log(self) -> None:
        """Write the line: totals, rates, lag, and the lowest watermark of the partitions."""
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._reported_at_s, 1e-9)
        total = totals(self._metrics.registry)
        lags, watermarks_s = values_of(self._metrics.lag), values_of(self._metrics.watermark)
        log.info(
            "progress",
            **{name: int(count) for name, count in total.items()},
            **{
                f"{name}_per_s": round((count - self._reported.get(name, 0)) / elapsed_s, 1)
                for name, count in total.items()
            },
            partitions=len(lags),
            lag=int(sum(lags)),
            state_size=int(sum(values_of(self._metrics.state_entries))),
            watermark=min(watermarks_s, default=None),
            watermark_age_s=round(self._clock.now_s() - min(watermarks_s), 1) if watermarks_s else None,
        )
        self._reported, self._reported_at_s = total, now_s
