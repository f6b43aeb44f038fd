"""Reports the sink's progress: commits its group's offsets for monitoring, and writes a periodic log line."""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from services.sink.sink_metrics import OutputMetrics

log = structlog.get_logger()

_COMMIT_EVERY_S = 1.0
_COMMIT_TIMEOUT_S = 2.0
# A broker forgets an offset of a group without members a week after its commit, by default (offsets.retention.minutes).
COMMIT_AGAIN_AFTER_S = 86_400.0
_LOG_EVERY_S = 10.0


class Progress:
    """Reports the sink's progress in the background.

    The group's offsets are used only to monitor the lag; the positions to continue from are in the output. So a failed
    commit is harmless and retried later.
    """

    def __init__(
        self,
        status: Callable[[], Mapping[str, object]],
        metrics: OutputMetrics,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._monotonic_s = monotonic_s
        self._all_committed_s = monotonic_s()
        self._metrics = metrics
        self._written: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._commits_fail = False

    def written(self, positions: Mapping[TopicPartition, int], consumer: AIOKafkaConsumer) -> None:
        """Note that all records before ``positions`` are in the output."""
        ends = {tp: consumer.last_stable_offset(tp) for tp in positions}
        self._metrics.progress(
            {tp.partition: max(0, end - positions[tp]) for tp, end in ends.items() if end is not None}
        )
        self._written = dict(positions)

    async def report(self, consumer: AIOKafkaConsumer) -> None:
        """Commit and log until cancelled."""
        loop = asyncio.get_running_loop()
        log_at = loop.time() + _LOG_EVERY_S
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            await self.commit(consumer)
            if loop.time() >= log_at:
                log_at += _LOG_EVERY_S
                self._log()

    async def commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit the offsets that have moved, and once a day all; a failure is only logged."""
        if self._monotonic_s() - self._all_committed_s > COMMIT_AGAIN_AFTER_S:
            self._committed.clear()
            self._all_committed_s = self._monotonic_s()
        offsets = {tp: offset for tp, offset in self._written.items() if self._committed.get(tp) != offset}
        if not offsets:
            return
        try:
            async with asyncio.timeout(_COMMIT_TIMEOUT_S):
                await consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            if not self._commits_fail:
                log.warning("offsets for lag monitoring cannot be committed", error=repr(error))
            self._commits_fail = True
        else:
            self._committed |= offsets
            self._commits_fail = False

    def _log(self) -> None:
        log.info("progress", output=self._metrics.output, **self._metrics.counts(), **self._status())
