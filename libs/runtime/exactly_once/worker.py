"""Processes a replica's partitions from their assignment to their revocation, in one attempt after the other.

Each attempt has its own transactional producer and transactional id. After an error, producer and state are discarded, and
the next attempt starts at the last commit. It ends the transaction that the failed attempt left open, as a successor does for
a crashed replica. A replica that has lost its partitions without noticing is fenced by the group's generation, which is part
of every commit (KIP-447).
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

import structlog
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff
from libs.runtime.errors import (
    NotAMemberError,
    OffsetMismatchError,
    RetriesExhaustedError,
    SettingChangedError,
    StuckConsumerError,
    TransactionFencedError,
    described,
)
from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.exactly_once.committed_offsets import encode_metadata
from libs.runtime.exactly_once.group_coordinator import GroupCoordinator
from libs.runtime.exactly_once.left_open import LeftOpenTransactions
from libs.runtime.exactly_once.pipelined_commits import Offsets, PipelinedCommits
from libs.runtime.exactly_once.processing import FRESH_S, AssignedPartition, Processing
from libs.runtime.exactly_once.retries import Retries
from libs.runtime.exactly_once.stage import Stage, Tally
from libs.runtime.exactly_once.start_offset import StartOffset
from libs.runtime.exactly_once.take_over import TakeOver
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.kafka_client.closing import close_quietly
from libs.runtime.kafka_client.consumers import broker_count
from libs.runtime.kafka_client.group_member import GroupMember, check_member
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.kafka_client.partitioning import partition_name
from libs.runtime.kafka_client.stage_consumer import StageConsumer
from libs.runtime.rights.denials import DENIALS
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.service.stop_requests import unless_stopped
from libs.runtime.timing import CLOSE_TIMEOUT_S, FENCED_WAIT_S, STUCK_AFTER_S
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.transactional_ids import StageTransactionalIds

log = structlog.get_logger()


class ReplicaWorker:
    """Runs a stage's logic on all partitions of one assignment.

    Args:
        member: this replica's membership when it was assigned ``partitions``.
        ids: the stage's transactional ids, the same object for the life of the process.
        size: how large transactions may become, likewise.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators, which outlive it
        self,
        stage: Stage,
        settings: ServiceSettings,
        consumer: StageConsumer,
        partitions: Collection[TopicPartition],
        member: GroupMember,
        ids: StageTransactionalIds,
        watch: BrokerWatch,
        health: Health,
        size: TransactionSize,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._consumer = consumer
        self._sources = sorted(partitions)
        self._member = member
        self._ids = ids
        self._watch = watch
        self._health = health
        self._metrics = stage.metrics
        self._monotonic_s = monotonic_s
        self._refused_since_s: float | None = None
        self._searches_apart = Backoff(60.0, 3600.0)  # a broker may be unreachable from here for good
        self._stopping = asyncio.Event()
        self._retries = Retries()
        self._transaction_size = size
        self._coordinator = GroupCoordinator(member, ids, self._sources[0])
        self._start_offsets = {source: StartOffset() for source in self._sources}
        self._take_over = TakeOver(
            stage, settings, consumer, member.group, lambda source: self._health.beat(partition_name(source))
        )
        self._left_open = LeftOpenTransactions(
            ids,
            member,
            (
                TopicPartition(settings.topic_prefix + topic.name, number)
                for topic in stage.outputs
                for number in range(settings.topic_partitions)
            ),
        )
        self._processing: Processing | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Start; ``on_failure`` is called with an error that retries did not fix."""
        for source in self._sources:
            self._health.beat(partition_name(source))
        self._task = asyncio.create_task(self._run(), name=f"{self._stage.name} {self._member.generation}")

        def done(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                if (error := task.exception()) is not None:
                    on_failure(error)
            elif not self._stopping.is_set():
                # Not by stop(): aiokafka raises the CancelledError of its own tasks in the caller that reads.
                on_failure(StuckConsumerError("cancelled by aiokafka", advice="start the service again"))

        self._task.add_done_callback(done)

    async def stop(self) -> None:
        """Wait for a commit in progress, drop the rest, and close the producer, within a time limit."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT_S)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=3 * CLOSE_TIMEOUT_S)
        for source in self._sources:
            self._health.forget(partition_name(source))
            self._metrics.forget(source.partition)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            structlog.contextvars.unbind_contextvars("transaction", "partition")  # of the attempt that failed
            self._processing = None
            try:
                await self._attempt()
            except TransactionFencedError as error:
                delay_s = FENCED_WAIT_S
                self._metrics.retries["fenced"].inc()
                log.warning("fenced: another replica has taken over, or the transaction timed out", error=str(error))
            except NotAMemberError as error:
                self._metrics.retries["fenced"].inc()
                delay_s = self._after_refusal(error)
            except OffsetOutOfRangeError as error:
                delay_s = 0.0
                for source, position in error.args[0].items():
                    self._start_offsets[source].out_of_range(position, broker_count(self._consumer))
                self._metrics.retries["offset_out_of_range"].inc()
            except (StuckConsumerError, OffsetMismatchError, SettingChangedError, *DENIALS):
                raise
            except Exception as error:  # noqa: BLE001 - after any error, processing continues from the last commit
                delay_s = self._after(error)
            else:
                continue
            await unless_stopped(asyncio.sleep(delay_s), self._stopping)

    def _after(self, error: Exception) -> float:
        """Note the failure; returns how long to wait before the next attempt, in seconds.

        Raises:
            RetriesExhaustedError: there have been too many failures.
        """
        if is_outage(error):
            self._metrics.retries["broker"].inc()
            delay_s = self._retries.outage()
            log.warning(
                "waiting for the broker, starting again from the last commit",
                error=described(error),
                retry_in_s=delay_s,
            )
            return delay_s
        failed_partition = self._processing.failed_partition() if self._processing is not None else None
        delay_s = self._retries.failed(failed_partition)
        failures = self._retries.failures(failed_partition)
        self._metrics.retries["error"].inc()
        log.warning(
            "processing failed, starting again from the last commit",
            failed_partition=partition_name(failed_partition) if failed_partition else "unknown",
            error=described(error),
            failures=failures,
            retry_in_s=delay_s,
        )
        if self._retries.exhausted:
            raise RetriesExhaustedError(
                f"{partition_name(failed_partition) if failed_partition else self._stage.name} failed {failures} times in a row, "
                f"at last with {described(error)}",
                advice="nothing is lost: fix the cause and start the service again; it continues from the last commit",
            ) from error
        return delay_s

    def _after_refusal(self, error: NotAMemberError) -> float:
        """Returns how long to wait, in seconds: for the rebalance in progress, which stops this worker, or for the next attempt.

        A former coordinator of the group, which does not know that it is none any more, refuses a member of the present generation. The
        next attempt may find the present one.

        Raises:
            StuckConsumerError: there was neither a rebalance nor a commit for ``STUCK_AFTER_S``.
        """
        now_s = self._monotonic_s()
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        if now_s - self._refused_since_s > STUCK_AFTER_S:
            raise StuckConsumerError(
                f"the group's coordinator has refused this replica as a member for {STUCK_AFTER_S:.0f} s, and no rebalance came",
                advice="start the service again; it continues from its last commit",
            )
        log.warning("fenced: this replica is no longer a member of the group", error=str(error))
        return FENCED_WAIT_S

    async def _attempt(self) -> None:
        check_member(self._consumer, self._member)
        outputs = [self._settings.topic_prefix + topic.name for topic in self._stage.outputs]
        # A rebalance waits for stop(), and all of this may wait for a broker.
        connection = await unless_stopped(BrokerConnection.open(self._settings.kafka, outputs), self._stopping)
        if connection is None:
            return
        producer = None
        try:
            # Not cancelled at once by a stop: once a transaction's outcome is forgotten, only this attempt knows of a missing marker.
            is_complete = await self._left_open.end(connection)
            if self._stopping.is_set():
                return
            suspended = self._retries.suspended()
            until_s = min(suspended.values(), default=float("inf"))
            if suspended.keys() >= set(self._sources):
                await unless_stopped(asyncio.sleep(until_s - time.monotonic()), self._stopping)
                return
            producer = TransactionalProducer(
                connection,
                self._ids.next_for(self._member),
                self._settings.topic_prefix,
                encode_metadata(self._stage.depends_on),
            )
            self._left_open.add(producer.transactional_id)
            partitions = await unless_stopped(self._begin(connection, producer, suspended), self._stopping)
            if partitions is None:
                return
            self._pause(suspended)
            if not is_complete:  # a broker did not answer, and a marker may be missing there
                until_s = min(until_s, self._monotonic_s() + self._searches_apart.next_s())
            await self._process(producer, partitions, until_s=until_s)
        finally:
            try:
                if producer is not None:
                    self._coordinator.accepted(producer.offsets_accepted_by)
                    await close_quietly(producer.abort())
            finally:  # stop() may cancel the abort
                await close_quietly(connection.close())

    async def _begin(
        self, connection: BrokerConnection, producer: TransactionalProducer, suspended: Collection[TopicPartition]
    ) -> list[AssignedPartition]:
        await producer.start()
        starts = {source: start for source, start in self._start_offsets.items() if source not in suspended}
        coordinator = await self._coordinator.find(connection, self._left_open)
        return await self._take_over.read(connection, starts, coordinator)

    def _pause(self, suspended: Collection[TopicPartition]) -> None:
        if paused := self._consumer.paused():
            self._consumer.resume(*paused)
        if suspended:
            self._consumer.pause(*suspended)
            log.warning(
                "partitions are paused after repeated failures", partitions=sorted(each.partition for each in suspended)
            )

    async def _process(
        self, producer: TransactionalProducer, partitions: Sequence[AssignedPartition], *, until_s: float
    ) -> None:
        commits = PipelinedCommits(
            producer,
            self._member,
            {topic.name: self._settings.topic_partitions for topic in self._stage.outputs},
            self._stage.commit_interval_ms,
            self._transaction_size,
            self._metrics,
            self._committed,
        )
        self._processing = Processing(
            self._stage,
            self._consumer,
            partitions,
            commits,
            self._watch,
            self._health,
            self._stopping,
            isolated_until_s=self._retries.isolated_until_s,
        )
        await self._processing.run(until_s)

    def _committed(self, offsets: Offsets, tallies: Sequence[Tally]) -> None:
        self._retries.committed(offsets)
        self._refused_since_s = None
        assert self._processing is not None
        waits_for_others = self._processing.waits_for_others
        for source in self._sources:
            if source in offsets:
                self._start_offsets[source].committed()
            if source in offsets or self._consumer.left_out_for_s(source) < FRESH_S or waits_for_others(source):
                self._health.beat(partition_name(source))
        now_s = time.time()
        for tally in tallies:
            tally.count(now_s)
