"""The loop of one attempt: fetch, process, commit, until it is stopped or fails."""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.exactly_once.fetching import FetchReader
from libs.runtime.exactly_once.open_transaction_check import OpenTransactionCheck
from libs.runtime.exactly_once.pipelined_commits import PipelinedCommits
from libs.runtime.exactly_once.stage import PartitionLogic, Progress, Stage, Tally
from libs.runtime.exactly_once.stuck_consumer import StuckConsumerCheck
from libs.runtime.kafka_client.idle_polling import IdlePolling
from libs.runtime.kafka_client.lazy_records import in_batches
from libs.runtime.kafka_client.partitioning import partition_name
from libs.runtime.kafka_client.stage_consumer import StageConsumer
from libs.runtime.service.health import Health
from libs.runtime.timing import IDLE_INTERVAL_S

MAX_BLOCKING_S = 0.005  # of the event loop, by processing records
_METRICS_EVERY_S = 1.0
FRESH_S = 3 * IDLE_INTERVAL_S  # the age limit of a fetch response that confirms a partition's end: a few long polls


@dataclass
class AssignedPartition:
    """An assigned partition: its logic, and the offset of the next record to process."""

    source: TopicPartition
    logic: PartitionLogic
    position: int
    in_transaction: bool = False  # it has had records or output since the last commit
    read_to_end: bool = False  # according to a recent fetch response, when it was last looked at
    confirmed_ms: int | None = None  # by the system's clock, which may be set back
    confirmed_s: float = field(default_factory=time.monotonic)
    stuck_check: StuckConsumerCheck = field(init=False)
    open_transaction_check: OpenTransactionCheck = field(init=False)

    def __post_init__(self) -> None:
        self.stuck_check = StuckConsumerCheck(self.name)
        self.open_transaction_check = OpenTransactionCheck(self.name)

    @property
    def name(self) -> str:
        return partition_name(self.source)


class Processing:
    """Processes partitions until ``stop`` is set.

    Args:
        isolated_until_s: until then (monotonic) each transaction has records of one partition only.
    """

    def __init__(
        self,
        stage: Stage,
        consumer: StageConsumer,
        partitions: Sequence[AssignedPartition],
        commits: PipelinedCommits,
        watch: BrokerWatch,
        health: Health,
        stop: asyncio.Event,
        *,
        isolated_until_s: float,
    ) -> None:
        self._stage = stage
        self._consumer = consumer
        self._partitions = {partition.source: partition for partition in partitions}
        self._commits = commits
        self._watch = watch
        self._health = health
        self._stop = stop
        self._isolated_until_s = isolated_until_s
        self._next_tick_s = 0.0
        self._next_metrics_s = 0.0
        self._waits_for_clock = True
        self._processing: TopicPartition | None = None
        self._fetched: Collection[TopicPartition] = ()

    def failed_partition(self) -> TopicPartition | None:
        """The partition whose records or logic made the loop fail, if that is known."""
        if self._processing is not None:
            return self._processing
        failed = self._commits.failed
        return next(iter(failed)) if len(failed) == 1 else None

    def waits_for_others(self, source: TopicPartition) -> bool:
        """Whether the partition waits for other partitions; then each of their transactions counts as progress for it, too.

        That is so if its records are in the fetch that is being processed or in the next one, or if it had been read to its end. With slow
        commits, a fetch takes minutes to process.
        """
        partition = self._partitions.get(source)
        return partition is not None and (
            partition.read_to_end or source in self._fetched or self._consumer.has_waiting(source)
        )

    async def run(self, until_s: float = float("inf")) -> None:
        """Run until stopped, or past ``until_s`` (monotonic). An open transaction is dropped, or committed past ``until_s``."""
        commits = self._commits
        reader, pace = FetchReader(self._consumer, self._stop), IdlePolling(self._consumer)
        urgent = False
        try:
            while True:
                tick_s = pace.tick_s
                fetched = await reader.read(commits.due_in_s(urgent=urgent), commits.awaited, tick_s=tick_s)
                if fetched is None:
                    return
                self._fetched = frozenset(fetched)
                commits.check()
                pace.note(busy=bool(fetched) or not commits.idle or self._waits_for_clock)
                for source, records in fetched.items():
                    partition = self._partitions.get(source)
                    if partition is not None and not await self._process(partition, records):
                        return
                now_s = time.monotonic()
                tick = now_s >= self._next_tick_s
                caught_up = self._punctuate(tick=tick)
                urgent = caught_up and self._urgent()
                if commits.due_in_s(urgent=urgent) == 0:
                    await self._commit()
                if tick:
                    self._next_tick_s = now_s + tick_s
                    self._check_partitions(can_be_stuck=not fetched or commits.idle)  # a fetch may have no record
                if now_s > until_s:
                    await self._commit_the_rest()
                    return
        finally:
            pace.close()
            await reader.close()
            await commits.close()

    async def _process(self, partition: AssignedPartition, fetched: Iterable[Any]) -> bool:
        """Process fetched records batch by batch; returns False if asked to stop before the last one.

        Processing one fetch may take longer than a transaction may: 1 MiB of orders takes 10 s at a millisecond each. So a
        transaction may end between two batches.
        """
        # Before the records are parsed: the consumer's position is already after all of them.
        end = int(await self._consumer.position(partition.source))
        if self._has_to_be_alone(partition):
            await self._commit()
        structlog.contextvars.bind_contextvars(partition=partition.name)
        yield_at_s = time.monotonic() + MAX_BLOCKING_S
        commits, logic = self._commits, partition.logic
        batches = in_batches(fetched, self._stage.batch_size)
        while (batch := self._next(partition, batches)) is not None:
            if commits.overdue:
                await self._commit()
            commits.open(len(batch))
            partition.in_transaction = True
            self._processing = partition.source
            pending_before = logic.pending_records
            logic.process(batch, commits.outputs)
            commits.pending_records += logic.pending_records - pending_before
            self._processing = None
            partition.position = batch[-1].offset + 1
            if time.monotonic() > yield_at_s:
                await asyncio.sleep(0)  # heartbeats share this loop
                if self._stop.is_set():
                    return False
                yield_at_s = time.monotonic() + MAX_BLOCKING_S
        if end > partition.position:
            partition.position = end
            # Aborted records at the end of a partition would be lag until the next record comes.
            if not partition.in_transaction:
                commits.open()
                partition.in_transaction = True
        structlog.contextvars.unbind_contextvars("partition")
        return True

    def _next(self, partition: AssignedPartition, batches: Any) -> list[Any] | None:
        self._processing = partition.source
        batch: list[Any] | None = next(batches, None)
        self._processing = None
        return batch

    def _punctuate(self, *, tick: bool) -> bool:
        """Call ``punctuate`` of the logics; returns whether a partition of the open transaction is read to its end."""
        caught_up = False
        show = tick and time.monotonic() >= self._next_metrics_s
        if show:
            self._next_metrics_s = time.monotonic() + _METRICS_EVERY_S
        lags = []
        for partition in self._partitions.values():
            if not (tick or partition.in_transaction):
                continue
            self._processing = partition.source
            partition.logic.punctuate(self._progress(partition))
            self._processing = None
            if partition.logic.urgent and not partition.in_transaction and not self._has_to_be_alone(partition):
                partition.in_transaction = True
                self._commits.open()
            if partition.in_transaction:
                lags.append(self._lag(partition))
            if show:
                self._update_metrics(partition)
                # It may have waited for its turn, or for its leader, for longer than a transaction stays open.
                if self._is_fresh(partition):
                    partition.open_transaction_check.update(
                        self._consumer.last_stable_offset(partition.source), self._consumer.highwater(partition.source)
                    )
        if tick:
            self._waits_for_clock = any(partition.logic.waits_for_clock for partition in self._partitions.values())
        if lags:
            caught_up = min(lags) == 0
        self._commits.in_backlog = bool(lags) and not caught_up
        return caught_up

    def _urgent(self) -> bool:
        return any(partition.in_transaction and partition.logic.urgent for partition in self._partitions.values())

    async def _commit(self) -> None:
        offsets: dict[TopicPartition, int] = {}
        tallies: list[Tally] = []
        for partition in self._partitions.values():
            if partition.in_transaction:
                partition.in_transaction = False
                offsets[partition.source] = partition.position
                self._processing = partition.source
                tally = partition.logic.before_commit(self._commits.outputs, partition.position)
                if tally is not None:
                    tallies.append(tally)
                # Not at the next tick: once the offsets are committed, nothing else tells that there is something left to do.
                self._stage.metrics.holds(partition.source.partition, partition.logic.state_size)
                self._processing = None
        await self._commits.commit(offsets, tallies)

    async def _commit_the_rest(self) -> None:
        if any(partition.in_transaction for partition in self._partitions.values()):
            await self._commit()
        if self._commits.awaited is not None:
            await self._commits.awaited

    def _has_to_be_alone(self, partition: AssignedPartition) -> bool:
        """Whether the partition may not join the open transaction: the one whose output is refused is not known yet."""
        return time.monotonic() < self._isolated_until_s and any(
            other.in_transaction for other in self._partitions.values() if other is not partition
        )

    def _lag(self, partition: AssignedPartition) -> int:
        # Up to the last stable offset: records after it belong to open transactions and cannot be read yet.
        end = self._consumer.last_stable_offset(partition.source)
        return 0 if end is None else max(end - partition.position, 0)

    def _update_metrics(self, partition: AssignedPartition) -> None:
        # The partition's end in a fetch response is outdated when processing its records has taken long.
        lag = max(self._lag(partition), self._watch.ends.get(partition.source, 0) - partition.position)
        logic = partition.logic
        progress = (logic.watermark_s, logic.state_size, logic.event_time_lag_s)
        self._stage.metrics.progress(partition.source.partition, lag, *progress)

    def _progress(self, partition: AssignedPartition) -> Progress:
        is_former = partition.source in self._watch.former_leaders.partitions
        confirmed_ms = None if is_former else self._consumer.last_poll_timestamp(partition.source)
        return Progress(
            position=partition.position,
            end_offset=self._consumer.highwater(partition.source),
            confirmed_at_s=None if confirmed_ms is None else confirmed_ms / 1000,
            source_started=self._watch.source_started,
            quiet_since_s=self._watch.quiet_since_s,
        )

    def _is_fresh(self, partition: AssignedPartition) -> bool:
        """Whether the last fetch response with the partition is recent."""
        confirmed_ms, now_s = self._consumer.last_poll_timestamp(partition.source), time.monotonic()
        if confirmed_ms != partition.confirmed_ms:
            partition.confirmed_ms, partition.confirmed_s = confirmed_ms, now_s
        return now_s - partition.confirmed_s < FRESH_S

    def _check_partitions(self, *, can_be_stuck: bool) -> None:
        """An idle partition is healthy only if a recent fetch response confirms that there is nothing to read.

        The heartbeat of a partition with records is a commit.
        """
        for partition in self._partitions.values():
            fresh = self._is_fresh(partition)
            partition.read_to_end = fresh and self._lag(partition) == 0
            is_idle = not partition.in_transaction and partition.source not in self._commits.committing
            if is_idle and partition.read_to_end:
                self._health.beat(partition.name)
            if can_be_stuck:
                waits = self._consumer.left_out_for_s(partition.source) < FRESH_S
                partition.stuck_check.update(excused=fresh or waits or not self._watch.reads_ends)
