"""What the service did, as a periodic log line."""

import time
from collections import Counter
from collections.abc import Mapping

import structlog

from libs.runtime.clock import Clock
from libs.runtime.logic import PartitionLogic

log = structlog.get_logger()

EVERY_S = 10.0


class Report:
    """Counts what was committed; keeps the lag and the logic of each partition in hand."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._total: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._reported_at_s = time.monotonic()
        self._lag: dict[str, int] = {}
        self._logic: dict[str, PartitionLogic] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        self._total.update(counts)

    def progress(self, partition: str, lag: int, logic: PartitionLogic) -> None:
        self._lag[partition] = lag
        self._logic[partition] = logic

    def forget(self, partition: str) -> None:
        self._lag.pop(partition, None)
        self._logic.pop(partition, None)

    def log(self) -> None:
        """Write the line: totals, rates since the last one, lag, and the slowest partition's watermark."""
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._reported_at_s, 1e-9)
        rates = {
            f"{name}_per_s": round((count - self._reported[name]) / elapsed_s, 1)
            for name, count in sorted(self._total.items())
        }
        watermarks_s = [mark for logic in self._logic.values() if (mark := logic.watermark_s) is not None]
        log.info(
            "progress",
            **dict(sorted(self._total.items())),
            **rates,
            partitions=len(self._lag),
            lag=sum(self._lag.values()),
            state_size=sum(logic.state_size for logic in self._logic.values()),
            watermark=min(watermarks_s, default=None),
            watermark_age_s=round(self._clock.now_s() - min(watermarks_s), 1) if watermarks_s else None,
        )
        self._reported = Counter(self._total)
        self._reported_at_s = now_s
