"""The exactly-once loop of one input partition.

Who lost the partition without knowing it is fenced twice: by the producer's epoch, which the next owner raises, and by the
group's generation. The first hangs on the order of a worker's first steps: start the producer, which ends the former
owner's transaction; only then read the committed offset and the changelog.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import InvalidProducerEpoch, OffsetOutOfRangeError, ProducerFenced
from aiokafka.structs import TopicPartition

from libs.runtime.broker import Backoff, is_unreachable
from libs.runtime.changelog import read_changelog
from libs.runtime.cycle import CommitCycle
from libs.runtime.errors import NotAMemberError, RetriesExhaustedError, StuckConsumerError, described
from libs.runtime.health import Health
from libs.runtime.lean_fetch import in_batches
from libs.runtime.logic import PartitionLogic, Progress, Stage, Tally
from libs.runtime.member_offsets import GroupMember, check_member
from libs.runtime.partition_reader import PartitionReader
from libs.runtime.settings import ServiceSettings
from libs.runtime.signs import BrokerSigns
from libs.runtime.silence import Silence
from libs.runtime.stable_offsets import StableOffsets
from libs.runtime.start_offset import StartOffset, compare_with_state
from libs.runtime.timing import CLOSE_TIMEOUT_S, FENCED_WAIT_S, STUCK_AFTER_S
from libs.runtime.transaction import TransactionalProducer
from libs.runtime.turns import CommitTurns
from libs.runtime.waiting import unless_stopped

log = structlog.get_logger()

RETRIES = 8
# What all partitions of a replica write. Two transactions of each are in memory: on a fast machine, after 300 ms, more than
# a container is to take.
RECORDS_IN_TRANSACTIONS = 60_000
LONGEST_TURN_S = 0.005
FRESH_S = 2.0  # a confirmation of the partition's end, a few long polls ago at most


class Assignment(NamedTuple):
    """What all partitions have in common that a replica was given in one rebalance."""

    member: GroupMember
    partitions: int
    turns: CommitTurns


class PartitionWorker:
    """Runs a stage's logic on one partition, from its assignment to its revocation."""

    def __init__(
        self,
        stage: Stage,
        settings: ServiceSettings,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        assignment: Assignment,
        offsets: StableOffsets,
        signs: BrokerSigns,
        health: Health,
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._consumer = consumer
        self._partition = partition
        self._assignment = assignment
        self._offsets = offsets
        self._signs = signs
        self._health = health
        self._metrics = stage.metrics
        self._name = f"{partition.topic}-{partition.partition}"
        self._stopping = asyncio.Event()
        self._failures = 0
        self._backoff = Backoff()
        self._start_offset = StartOffset()
        self._silence = Silence(self._name)
        self._task: asyncio.Task[None] | None = None

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Begin; ``on_failure`` hears of an error that trying again did not mend."""
        self._health.beat(self._name)
        self._task = asyncio.create_task(self._run(), name=self._name)

        def done(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                if (error := task.exception()) is not None:
                    on_failure(error)
            elif not self._stopping.is_set():
                # Nobody here did: aiokafka passes the CancelledError of its own tasks on to whoever reads.
                on_failure(StuckConsumerError(f"{self._name}: cancelled by aiokafka", advice="start the service again"))

        self._task.add_done_callback(done)

    async def stop(self) -> None:
        """Let a commit that is under way end, drop the rest, and close the producer, within a time limit."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT_S)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=3 * CLOSE_TIMEOUT_S)
        self._health.forget(self._name)
        self._metrics.forget(self._partition.partition)

    async def _run(self) -> None:
        structlog.contextvars.bind_contextvars(partition=self._name)  # in this task, and in those that it starts
        while not self._stopping.is_set():
            structlog.contextvars.unbind_contextvars("transaction")  # of the attempt that failed
            try:
                await self._work()
            except (ProducerFenced, InvalidProducerEpoch):
                delay_s = FENCED_WAIT_S
                self._metrics.retries["fenced"].inc()
                log.warning("fenced: another replica has taken over, or the transaction timed out")
            except NotAMemberError as error:
                self._metrics.retries["fenced"].inc()
                await self._wait_for_the_group(error)
                return
            except OffsetOutOfRangeError:
                self._start_offset.out_of_range()
                delay_s = 0.0
                self._metrics.retries["offset_out_of_range"].inc()
            except StuckConsumerError:
                raise
            except Exception as error:
                delay_s = self._backoff.next_s()
                unreachable = is_unreachable(error)
                self._failures += not unreachable
                self._metrics.retries["broker" if unreachable else "error"].inc()
                log.warning(
                    "partition failed, starting again from its last commit",
                    error=described(error),
                    failures=self._failures,
                    retry_in_s=delay_s,
                )
                if self._failures > RETRIES:
                    raise RetriesExhaustedError(
                        f"{self._name} failed {self._failures} times in a row, at last with {described(error)}",
                        advice="nothing is lost: mend the cause and start again, processing goes on from the last commit",
                    ) from error
            else:
                return
            await unless_stopped(asyncio.sleep(delay_s), self._stopping)

    async def _wait_for_the_group(self, error: NotAMemberError) -> None:
        """Wait to be stopped, as partitions are given out anew: to try again would fence whoever has this one now.

        Raises:
            StuckConsumerError: that has not come.
        """
        log.warning("fenced: the group goes on without this replica", error=str(error))
        await unless_stopped(asyncio.sleep(STUCK_AFTER_S), self._stopping)
        if not self._stopping.is_set():
            raise StuckConsumerError(
                f"{self._name}: the group gave the partition away, and no word of it came in {STUCK_AFTER_S:.0f} s",
                advice="start the service again; it goes on from its last commit",
            )

    async def _work(self) -> None:
        member = self._assignment.member
        check_member(self._consumer, member)
        producer = TransactionalProducer(
            self._settings,
            transactional_id=f"{self._settings.topic_prefix}{self._stage.name}-{self._stage.source.name}-{self._partition.partition}",
            member=member,
            partitions={topic.name: self._settings.topic_partitions for topic in self._stage.outputs},
        )
        try:
            await producer.start()
            committed = await self._seek_to_committed()
            logic = self._stage.logic(*self._partition)
            if self._stage.changelog is not None:
                await self._restore(logic, self._stage.changelog.name, committed)
            log.info("partition started", state_size=logic.state_size)
            await self._loop(producer, logic)
        finally:
            await producer.close()

    async def _seek_to_committed(self) -> int | None:
        committed = await self._offsets.fetch(self._partition)
        first = (await self._consumer.beginning_offsets([self._partition]))[self._partition]
        self._consumer.seek(self._partition, self._start_offset.choose(committed, first))
        return committed

    async def _restore(self, logic: PartitionLogic, changelog: str, committed: int | None) -> None:
        partition = TopicPartition(self._settings.topic_prefix + changelog, self._partition.partition)
        count, since = 0, time.monotonic()
        async for records in read_changelog(self._settings, partition):
            logic.restore(records)
            count += len(records)
            self._health.beat(self._name)
        compare_with_state(committed, partition.topic, count)
        seconds = time.monotonic() - since
        self._metrics.restored(count, seconds)
        log.info("state restored", changelog_records=count, seconds=round(seconds, 3))

    async def _loop(self, producer: TransactionalProducer, logic: PartitionLogic) -> None:
        started_s = time.time()
        cycle = CommitCycle(
            producer,
            self._partition,
            self._stage.commit_interval_ms,
            RECORDS_IN_TRANSACTIONS // self._assignment.partitions,
            self._assignment.turns,
            self._metrics,
            self._committed,
        )
        begin = await self._consumer.position(self._partition)
        reader = PartitionReader(self._consumer, self._partition, begin, self._stopping)
        try:
            while (fetched := await reader.read(cycle.due_in_s(), cycle.awaited)) is not None:
                cycle.check()
                if not await self._process(fetched, logic, cycle):
                    break
                position = reader.position
                progress = self._progress(position)
                logic.punctuate(progress)
                if fetched or logic.urgent:
                    cycle.open(position)
                lag = cycle.waiting = self._lag(position)
                self._show(position, logic)
                if cycle.is_due(urgent=lag == 0 and logic.urgent):
                    await cycle.commit(position, logic.before_commit(cycle.outputs))
                if not fetched:
                    self._nothing_received(progress, started_s, all_done=lag == 0 and cycle.idle)
        finally:
            await reader.close()
            await cycle.close()

    async def _process(self, fetched: Iterable[Any], logic: PartitionLogic, cycle: CommitCycle) -> bool:
        """Batch by batch; False when asked to stop before all were done.

        One fetch may bring more than can be processed in a transaction's time: 1 MiB of orders, for 10 s if each takes a
        millisecond. So transactions may end between its batches.
        """
        turn_ends_s = time.monotonic() + LONGEST_TURN_S
        for batch in in_batches(fetched, self._stage.batch_size):
            position = batch[0].offset
            if cycle.overdue:
                await cycle.commit(position, logic.before_commit(cycle.outputs))
                self._show(position, logic)
            cycle.open(position, len(batch))
            logic.process(batch, cycle.outputs)
            if time.monotonic() > turn_ends_s:
                await asyncio.sleep(0)  # heartbeats and the other partitions share this loop
                if self._stopping.is_set():
                    return False
                turn_ends_s = time.monotonic() + LONGEST_TURN_S
        return True

    def _lag(self, position: int) -> int:
        # Up to the last stable offset: what lies beyond is in open transactions and cannot be read yet.
        end = self._consumer.last_stable_offset(self._partition)
        return 0 if end is None else max(end - position, 0)

    def _show(self, position: int, logic: PartitionLogic) -> None:
        # What a fetch says of the partition's end is old by the time that slow work on its records is done.
        lag = max(self._lag(position), self._signs.ends.get(self._partition, 0) - position)
        self._metrics.progress(self._partition.partition, lag, logic.watermark_s, logic.state_size)

    def _progress(self, position: int) -> Progress:
        confirmed_ms = self._consumer.last_poll_timestamp(self._partition)
        return Progress(
            position=position,
            end_offset=self._consumer.highwater(self._partition),
            confirmed_at_s=None if confirmed_ms is None else confirmed_ms / 1000,
            source_started=self._signs.source_started,
        )

    def _committed(self, position: int, tally: Tally) -> None:
        self._start_offset.confirm(position)
        self._failures = 0
        self._backoff.reset()
        self._health.beat(self._name)
        tally.count(time.time())

    def _nothing_received(self, progress: Progress, started_s: float, *, all_done: bool) -> None:
        """Having nothing to do is healthy only if the broker has just said so."""
        fresh = time.time() - max(progress.confirmed_at_s or 0.0, started_s) < FRESH_S
        if all_done and fresh:
            self._health.beat(self._name)
        self._silence.look(excused=fresh or not self._signs.answering)
