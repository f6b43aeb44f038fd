"""Reads ``product-metrics`` and passes it to one writer; after any error it starts again from the writer's positions."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Generic

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from libs.events.topics import PRODUCT_METRICS
from libs.runtime.backoff import Backoff
from libs.runtime.errors import StuckConsumerError
from libs.runtime.kafka_client.closing import close_consumer
from libs.runtime.kafka_client.consumers import consumer_arguments, refresh_metadata
from libs.runtime.kafka_client.idle_polling import IdlePolling
from libs.runtime.kafka_client.lazy_records import LazyRecordConsumer
from libs.runtime.life_cycle import Context
from libs.runtime.records import Record
from libs.runtime.service.stop_requests import unless_stopped
from libs.runtime.timing import HEALTHY_FOR_S
from libs.runtime.topics.creation import ensure_topics
from services.sink.interruption_log import InterruptionLog
from services.sink.metrics_writer import (
    Item,
    MetricsWriter,
    OutputChangedError,
    OutputUnavailableError,
    WriterDisplacedError,
)
from services.sink.output_health import OutputHealth
from services.sink.progress import Progress
from services.sink.record_batcher import MetricBatch, Position, RecordBatcher, RecordMissingError, TopicRewoundError
from services.sink.report_written import report_written
from services.sink.sink_metrics import OutputMetrics
from services.sink.sink_settings import SinkSettings
from services.sink.write_size import WriteSize

log = structlog.get_logger()

_POLL_MS = 250
_STANDBY_POLL_S = 0.5
# A broker that has just started may not have loaded all of its log yet, and one that has lost the leadership does not know its end.
# That the topic is another one is believed after so many checks, this far apart, each with new metadata.
_CHECKS_UNTIL_CONFIRMED = 4
_CONFIRM_S = 2.0
_CHECKS_COUNT_FOR_S = 120.0

# A full disk is noticed only when there is something to write: an empty batch right after a start proves nothing.
_SETTLED_S = 5.0

# A new consumer is cheap here. It resolves a deleted topic or a stuck client (aiokafka #1154) before the service reports
# unhealthy.
_RECONNECT_AFTER_S = HEALTHY_FOR_S / 2


class OutputLoop(Generic[Item]):
    """Copies the topic into ``writer`` until the context's ``stop`` is set.

    It reads every partition by ``assign`` and takes no part in a group's rebalancing: the writer already ensures that only
    one sink writes, and a member of a group would get only some of the partitions. ``group`` (without ``TOPIC_PREFIX``) is
    used only to report progress.
    """

    def __init__(
        self, context: Context[SinkSettings], writer: MetricsWriter[Item], metrics: OutputMetrics, group: str
    ) -> None:
        self._settings = context.settings
        self._stop = context.stop
        self._writer = writer
        self._group = group
        self._metrics = metrics
        self._health = OutputHealth(context.health, writer.kind)
        self._progress = Progress(writer.status, metrics)
        topic = context.settings.topic_prefix + PRODUCT_METRICS.name
        self._partitions = [TopicPartition(topic, number) for number in range(context.settings.topic_partitions)]
        self._start_over_because = ""
        self._checks_without_the_record: dict[int, list[float]] = {}  # by partition, when
        self._standing_by = False  # kept over sessions: an error may come between standing by and taking over
        self._backoff = Backoff()
        self._interruption_log = InterruptionLog(writer.kind)
        self._size = WriteSize(writer.kind)
        # Not at each run(), which is called again after an error: the output would look connected for ever.
        self._health.connected()

    async def run(self) -> None:
        """Run until asked to stop; raises ``PipelineError`` if a retry cannot help."""
        self._start_over_because = ""  # of an earlier run that ended with it: the output may have been rebuilt since
        while not self._stop.is_set():
            try:
                await self._session()
            except (OutputChangedError, WriterDisplacedError) as error:
                self._metrics.retries["output_changed"].inc()
                log.warning("the output was changed from outside", output=self._writer.kind, change=str(error))
            except TopicRewoundError as error:
                self._metrics.retries["topic_rewound"].inc()
                self._start_over_because = str(error)
            except (OutputUnavailableError, StuckConsumerError, KafkaError, OSError) as error:
                if self._stop.is_set():
                    return
                delay_s = self._backoff.next_s()
                self._metrics.retries[_reason(error)].inc()
                self._interruption_log.interrupted(error, delay_s)
                await unless_stopped(asyncio.sleep(delay_s), self._stop)

    async def _session(self) -> None:
        """Run one consumer, from the writer's positions to the first error or the end."""
        if not await self._become_writer():
            return
        cluster = await unless_stopped(ensure_topics(self._settings, [PRODUCT_METRICS]), self._stop)
        if cluster is None:
            return
        consumer = LazyRecordConsumer(**consumer_arguments(self._settings, self._group))
        try:
            if await unless_stopped(self._connected(consumer), self._stop):
                batcher = await self._position(consumer, cluster.cluster_id)
                if batcher is not None:
                    await self._copy(consumer, batcher)
        except RecordMissingError as error:
            await unless_stopped(self._require_deleted(consumer, error), self._stop)
        finally:
            self._metrics.forget()
            await close_consumer(consumer)

    async def _become_writer(self) -> bool:
        """Wait until no other process writes; returns False if asked to stop before."""
        while not await self._writer.acquire():
            if not self._standing_by:
                self._standing_by = True
                self._metrics.standby.set(1)
                self._health.standing_by()
                log.info("standing by: another sink writes this output", **self._log_fields())
            self._health.beat_standby()
            await unless_stopped(asyncio.sleep(_STANDBY_POLL_S), self._stop)
            if self._stop.is_set():
                return False
        if self._standing_by:
            self._standing_by = False
            self._metrics.standby.set(0)
            log.info("taking over the output", **self._log_fields())
            self._health.taking_over()
        return True

    @staticmethod
    async def _connected(consumer: AIOKafkaConsumer) -> bool:
        await consumer.start()
        return True

    async def _position(self, consumer: AIOKafkaConsumer, cluster_id: str) -> RecordBatcher[Item] | None:
        """Open the writer, and seek the consumer to its positions; returns None if asked to stop before."""
        positions = await self._writer.open(cluster_id)
        reason = self._start_over_because or await unless_stopped(self._beyond_the_end(consumer, positions), self._stop)
        if reason:
            await self._writer.start_over(reason)
            self._start_over_because = ""
            self._checks_without_the_record.clear()
            positions = {}
        self._metrics.output_bytes.set(self._writer.size_bytes)
        begins = await unless_stopped(consumer.beginning_offsets(self._partitions), self._stop)
        if begins is None:
            return None
        consumer.assign(self._partitions)
        rereading = set()
        # No await between assigning and seeking, so that nothing is fetched from the group's offsets.
        for tp, begin in begins.items():
            position = positions.get(tp.partition)
            if position and begin < position.next_offset:
                rereading.add(tp.partition)
                consumer.seek(tp, position.next_offset - 1)
                continue
            consumer.seek(tp, begin)
            if position and position.next_offset < begin:
                count = begin - position.next_offset
                log.warning("metrics were deleted before they were read", partition=tp.partition, offsets=count)
        return RecordBatcher(self._writer.parse, positions, rereading, self._writer.groups_of)

    async def _beyond_the_end(self, consumer: AIOKafkaConsumer, positions: Mapping[int, Position]) -> str:
        """If the positions are beyond the topic's end, the reason why this is not the topic that was written."""
        for check in range(_CHECKS_UNTIL_CONFIRMED):
            if check:
                await asyncio.sleep(_CONFIRM_S)
                await refresh_metadata(consumer)
            ends = await consumer.end_offsets(self._partitions)
            known = {tp.partition: end for tp, end in ends.items()}
            beyond = {
                number: position.next_offset
                for number, position in positions.items()
                if position.next_offset > known.get(number, -1)
            }
            if not beyond:
                return ""
        return f"the topic ends at {known}, but {beyond} was written: it was probably recreated"

    async def _require_deleted(self, consumer: AIOKafkaConsumer, missing: RecordMissingError) -> None:
        """Raise ``TopicRewoundError`` unless retention has deleted the missing record since the session began.

        At the first checks it returns, and the next session checks again.
        """
        (begin,) = (await consumer.beginning_offsets([self._partitions[missing.partition]])).values()
        if begin >= missing.next_offset:
            return
        now_s = time.monotonic()
        before = self._checks_without_the_record.get(missing.partition, [])
        checks = self._checks_without_the_record[missing.partition] = [
            *(check_s for check_s in before if now_s - check_s < _CHECKS_COUNT_FOR_S),
            now_s,
        ]
        if len(checks) >= _CHECKS_UNTIL_CONFIRMED:
            raise TopicRewoundError(str(missing)) from missing
        await asyncio.sleep(_CONFIRM_S)

    async def _copy(self, consumer: AIOKafkaConsumer, batcher: RecordBatcher[Item]) -> None:
        reporting = asyncio.create_task(self._progress.report(consumer))
        pace = IdlePolling(consumer)
        try:
            last_answer: int | None = None
            started_s = answered_s = time.monotonic()
            while not self._stop.is_set():
                fetched = await unless_stopped(consumer.getmany(timeout_ms=int(pace.tick_s * 1000)), self._stop)
                if fetched is None:
                    break
                pace.note(busy=bool(fetched))
                wrote = await self._write_all(batcher, {tp.partition: records for tp, records in fetched.items()})
                if wrote or time.monotonic() - started_s > _SETTLED_S:
                    self._backoff.reset()
                    self._interruption_log.resolved()
                    self._health.written()
                await self._note(consumer)
                answer = self._slowest_answer(consumer)
                if answer != last_answer:
                    last_answer, answered_s = answer, time.monotonic()
                    self._health.connected()
                elif time.monotonic() - answered_s > _RECONNECT_AFTER_S:
                    raise StuckConsumerError(f"no answer from the broker for {_RECONNECT_AFTER_S:.0f} s")
        finally:
            pace.close()
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting
        await self._progress.commit(consumer)

    async def _write_all(self, batcher: RecordBatcher[Item], fetched: Mapping[int, Iterable[Record]]) -> bool:
        """Write the records fetched of each partition; returns whether there was a metric among them."""
        wrote = False
        for batch in batcher.batches(fetched, self._size.most_records):
            await self._write(batch)
            wrote = wrote or bool(batch.items)
        for partition in batcher.verified:
            self._checks_without_the_record.pop(partition, None)
        if not wrote:
            await self._writer.write([], {})  # without traffic, too, check that the output is unchanged
        return wrote

    async def _write(self, batch: MetricBatch[Item]) -> None:
        began_s = time.monotonic()
        try:
            existing = await self._writer.write(batch.items, batch.positions)
        except OutputUnavailableError:
            self._size.failed(len(batch.items))
            raise
        seconds = time.monotonic() - began_s
        self._size.written(len(batch.items), seconds)
        metrics, now_s = self._metrics, time.time()
        metrics.write_duration.observe(seconds)
        metrics.checkpoint.set(now_s)
        metrics.output_bytes.set(self._writer.size_bytes)
        report_written(self._writer, batch, existing, metrics, now_s)

    async def _note(self, consumer: AIOKafkaConsumer) -> None:
        # Unlike the last record's offset, the position is after the markers that end transactions.
        positions: dict[TopicPartition, int] = {}
        with contextlib.suppress(TimeoutError):  # a partition whose position is being reset has none
            async with asyncio.timeout(_POLL_MS / 1000):
                positions = {tp: await consumer.position(tp) for tp in self._partitions}
        self._progress.written(positions, consumer)

    def _slowest_answer(self, consumer: AIOKafkaConsumer) -> int | None:
        """The oldest of the partitions' latest fetch responses, empty ones included (epoch ms)."""
        answers = [consumer.last_poll_timestamp(tp) for tp in self._partitions]
        return None if None in answers else min(answers)

    def _log_fields(self) -> dict[str, object]:
        return {"output": self._writer.kind, **self._writer.status()}


def _reason(error: Exception) -> str:
    if isinstance(error, OutputUnavailableError):
        return "output_unavailable"
    return "stuck" if isinstance(error, StuckConsumerError) else "broker"
