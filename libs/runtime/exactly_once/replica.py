"""A replica of a stage: a member of its consumer group, with a worker for each assignment."""

import asyncio
from collections.abc import Collection
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff
from libs.runtime.errors import StuckConsumerError
from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.exactly_once.membership import watch_membership
from libs.runtime.exactly_once.progress_report import EVERY_S, Report
from libs.runtime.exactly_once.stage import Stage
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.exactly_once.worker import ReplicaWorker
from libs.runtime.kafka_client.closing import close_consumer
from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.group_member import current_member
from libs.runtime.kafka_client.rebootstrap import rebootstrap_when_silent
from libs.runtime.kafka_client.stage_consumer import StageConsumer
from libs.runtime.life_cycle import Context
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.service.stop_requests import unless_stopped
from libs.runtime.transactions.transactional_ids import StageTransactionalIds

log = structlog.get_logger()


async def run_stage(stage: Stage, context: Context[Any]) -> None:
    """Process the partitions that the group assigns to this replica until it is asked to stop.

    Raises:
        PipelineError: a partition could not be processed any more. Nothing is lost: the next start continues from the last commit.
    """
    settings: ServiceSettings = context.settings
    topic = settings.topic_prefix + stage.source.name
    # The worker seeks by itself, and records that were deleted before they were read must not be skipped silently.
    consumer = StageConsumer(
        fetches_apart_s=stage.fetches_apart_s,
        independent_partitions=stage.independent_partitions,
        **consumer_arguments(settings, stage.name, fetch_bytes=stage.fetch_bytes, auto_offset_reset="none"),
    )
    if not await _started(consumer, context.stop):
        return
    source = [TopicPartition(topic, number) for number in range(settings.topic_partitions)]
    needed = [settings.topic_prefix + spec.name for spec in (stage.source, *stage.outputs)]
    watch = BrokerWatch(consumer, source, context.health, needed, context.clock)
    report = Report(stage.metrics, context.clock)
    replica = _Replica(stage, context, consumer, watch)
    client = consumer._client  # noqa: SLF001 - there is no public access to a consumer's client
    background = [
        asyncio.create_task(work)
        for work in (
            watch.run(),
            watch_membership(consumer),
            rebootstrap_when_silent(settings.kafka, client, watch.silent_for_s),
            _report(report),
        )
    ]
    for task in background:
        task.add_done_callback(replica.fail_with)
    try:
        consumer.subscribe([topic], listener=replica)
        await unless_stopped(replica.failed(), context.stop)
    finally:
        for task in background:
            task.cancel()
        await replica.close()
        await close_consumer(consumer)  # leaves the group, so that the others need not wait for the session to end
        report.log()


class _Replica(ConsumerRebalanceListener):
    """Starts and stops a worker as partitions come and go.

    aiokafka calls it in a background task and swallows what it raises, so failures go into a future instead.
    """

    def __init__(
        self,
        stage: Stage,
        context: Context[Any],
        consumer: StageConsumer,
        watch: BrokerWatch,
    ) -> None:
        self._stage = stage
        self._context = context
        self._consumer = consumer
        self._watch = watch
        self._ids = StageTransactionalIds(context.settings.topic_prefix, stage.name)
        self._size = TransactionSize()
        self._worker: ReplicaWorker | None = None
        self._closed = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def failed(self) -> None:
        """Wait until work fails for good, and raise its error."""
        await self._failure

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Returns when the partitions are no longer processed here."""
        if revoked:
            log.info("partitions revoked", partitions=sorted(p.partition for p in revoked))
        await self.stop()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Returns at once; the worker starts in the background."""
        await self.stop()
        if self._closed:
            return
        member = current_member(self._consumer, self._context.settings.topic_prefix + self._stage.name)
        log.info("partitions assigned", partitions=sorted(p.partition for p in assigned), generation=member.generation)
        if member.generation < 0:
            self._fail(
                StuckConsumerError(
                    "partitions were assigned, but this replica is not a member of the group",
                    advice="start the service again",
                )
            )
            return
        self._stage.metrics.rebalances.inc()
        self._stage.metrics.assigned_partitions.set(len(assigned))
        if assigned:
            self._worker = ReplicaWorker(
                self._stage,
                self._context.settings,
                self._consumer,
                assigned,
                member,
                self._ids,
                self._watch,
                self._context.health,
                self._size,
            )
            self._worker.start(self._fail)

    async def close(self) -> None:
        """Stop the worker, and start no other, even if a rebalance is just ending."""
        self._closed = True
        await self.stop()

    async def stop(self) -> None:
        """Stop the worker."""
        worker, self._worker = self._worker, None
        self._stage.metrics.assigned_partitions.set(0)
        if worker is not None:
            await worker.stop()

    def fail_with(self, task: asyncio.Task[None]) -> None:
        """If ``task`` failed, end the service with its error."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


async def _started(consumer: AIOKafkaConsumer, stop: asyncio.Event) -> bool:
    backoff = Backoff()
    while not stop.is_set():
        try:
            await unless_stopped(consumer.start(), stop)  # it takes most of a minute if a broker hangs
        except (KafkaError, OSError) as error:
            log.warning("waiting for the broker", error=repr(error))
            await unless_stopped(asyncio.sleep(backoff.next_s()), stop)
        else:
            if not stop.is_set():
                return True
    await close_consumer(consumer)
    return False


async def _report(report: Report) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        report.log()
