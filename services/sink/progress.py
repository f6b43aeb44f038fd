"""Tells how far the sink has come: offsets of its group for monitoring, and a line in the log."""

import asyncio
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

log = structlog.get_logger()

_COMMIT_EVERY_S = 1.0
_COMMIT_TIMEOUT_S = 2.0
_LOG_EVERY_S = 10.0


class Progress:
    """Counts what was written since the start, and reports it in the background.

    The group's offsets only serve those who watch the lag; where to read on says the output. So a commit that fails
    is tried again later and hurts nobody.
    """

    def __init__(self, status: Callable[[], Mapping[str, object]]) -> None:
        self._status = status
        self._metrics = 0
        self._rejected = 0
        self._written: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._commits_fail = False

    def written(self, metrics: int, rejected: int, positions: Mapping[TopicPartition, int]) -> None:
        """What was read before ``positions`` is in the output."""
        self._metrics += metrics
        self._rejected += rejected
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
                self._log(consumer)

    async def commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit the offsets if they have moved; a failure is only logged."""
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

    def _log(self, consumer: AIOKafkaConsumer) -> None:
        ends = {tp: consumer.highwater(tp) for tp in self._written}
        known = self._written and None not in ends.values()
        lag = sum(max(0, end - self._written[tp]) for tp, end in ends.items()) if known else None
        log.info("progress", metrics_written=self._metrics, rejected=self._rejected, lag=lag, **self._status())
