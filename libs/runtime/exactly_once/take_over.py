"""Takes over assigned partitions: reads their committed offsets, and restores the state that belongs to them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from libs.runtime.errors import OffsetMismatchError, OutdatedAnswerError, StateBehindError, TransactionFencedError
from libs.runtime.exactly_once.answer_confirmation import AnswerConfirmation
from libs.runtime.exactly_once.committed_offsets import (
    CommittedOffset,
    check_gone,
    check_not_starting_over,
    check_settings,
    check_state,
    check_writer,
)
from libs.runtime.exactly_once.committed_records import read_committed_records
from libs.runtime.exactly_once.processing import AssignedPartition
from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.exactly_once.stage import PartitionLogic, Stage
from libs.runtime.exactly_once.start_offset import StartOffset, compare_with_state
from libs.runtime.kafka_client.consumers import broker_count, refresh_metadata
from libs.runtime.kafka_client.partitioning import partition_name
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.timing import COMMIT_TIMEOUT_S
from libs.runtime.transactions.connection import BrokerConnection

log = structlog.get_logger()

# Longer than a transaction may be pending, for which stable offsets wait.
_OFFSETS_WITHIN_S = COMMIT_TIMEOUT_S + 10.0

Committed = Mapping[TopicPartition, CommittedOffset | None]


@dataclass(frozen=True)
class TakeOver:
    """Reads what the previous owners have committed. They are fenced: their generation has ended.

    Args:
        beat: called when a partition makes progress.
    """

    stage: Stage
    settings: ServiceSettings
    consumer: AIOKafkaConsumer
    group: str
    beat: Callable[[TopicPartition], None]
    _state_confirmation: AnswerConfirmation = field(default_factory=AnswerConfirmation)

    async def read(
        self, connection: BrokerConnection, starts: Mapping[TopicPartition, StartOffset], coordinator: int
    ) -> list[AssignedPartition]:
        """The partitions, ready to be processed; the consumer is at their positions.

        Args:
            connection: to the cluster.
            starts: the partitions, each with what is known of where to start.
            coordinator: the broker that has accepted a write of this member's generation as the group's coordinator.

        Raises:
            OffsetMismatchError: a committed offset is not the one that this stage committed last.
            OutdatedAnswerError: it seems so, but a broker's answer may be outdated.
            TransactionFencedError: another replica has taken over meanwhile.
            SettingChangedError: a setting has changed since.
            TimeoutError: there was no response with the offsets; another attempt uses another connection.
        """
        sources = list(starts)
        try:
            async with asyncio.timeout(_OFFSETS_WITHIN_S):
                committed = await stable_offsets(connection, self.group, sources, coordinator)
                first = await self.consumer.beginning_offsets(sources)
                await self._check_offsets(connection, committed, coordinator)
                await self._check_ends(starts, committed, first)
        except TimeoutError as error:
            raise TimeoutError(
                f"the offsets to begin at did not come within {_OFFSETS_WITHIN_S:.0f} s; a transaction that somebody has left"
                " open may hold them up (`pipeline doctor` finds it)"
            ) from error
        logics = self.stage.logics(sources)
        if self.stage.changelog is not None:
            try:
                await self._restore(logics, self.stage.changelog.name, committed)
            except OffsetMismatchError as error:
                await self._check_no_successor(connection, committed)
                # Of several brokers, that check may have asked one that does not know yet that it is no longer the coordinator.
                if isinstance(error, StateBehindError) or broker_count(self.consumer) > 1:
                    self._state_confirmation.raise_unless_confirmed(str(error))
                raise
            self._state_confirmation.clear()
        return [
            self._begin(source, logics[source], start, committed[source], first[source])
            for source, start in starts.items()
        ]

    async def _check_ends(
        self, starts: Mapping[TopicPartition, StartOffset], committed: Committed, first: Mapping[TopicPartition, int]
    ) -> None:
        """Check the ends of all partitions once a broker has rejected the position in one: aiokafka reports one partition at a time."""
        if not any(start.is_unconfirmed for start in starts.values()):
            return
        await refresh_metadata(self.consumer)
        ends = await self.consumer.end_offsets(list(starts))
        brokers = broker_count(self.consumer)
        contradictions = []
        for source, start in starts.items():
            with structlog.contextvars.bound_contextvars(partition=partition_name(source)):
                try:
                    start.check(_offset(committed[source]), first[source], ends[source], brokers)
                except OutdatedAnswerError as error:
                    contradictions.append(error)
        if contradictions:
            raise contradictions[0]

    async def _check_no_successor(self, connection: BrokerConnection, committed: Committed) -> None:
        """A replica that was paused after it had read the offsets compares them with the state of its successor."""
        connection.forget_coordinators()  # one that is cut off from the others may have answered
        async with asyncio.timeout(_OFFSETS_WITHIN_S):
            now = await stable_offsets(connection, self.group, list(committed))
        if now != committed:
            raise TransactionFencedError("another replica has committed offsets during the take-over")

    async def _check_offsets(self, connection: BrokerConnection, committed: Committed, coordinator: int) -> None:
        of_group = committed
        topic = next(iter(committed)).topic
        everything = [TopicPartition(topic, number) for number in range(self.settings.topic_partitions)]
        if not all(committed.values()):  # for those without an offset, the others show whether the stage has run before
            of_group = await stable_offsets(connection, self.group, everything, coordinator)
        for source, offset in of_group.items():
            if offset is not None:
                check_not_starting_over(source, offset)
                check_settings(source, offset, self.stage.depends_on)
        if self.stage.accept_offsets is None or self.stage.offsets_accepted:
            return
        if not any(of_group.values()) and await self._has_output():
            # Another replica may have committed its first transaction in between: read the missing offsets again.
            check_gone(await stable_offsets(connection, self.group, everything, coordinator), self.stage.accept_offsets)
        for source, offset in committed.items():
            if offset is not None:
                check_writer(source, offset, self.stage.accept_offsets)

    async def _has_output(self) -> bool:
        """Whether the main output has a committed record. Its end offset does not show it: aborted records have offsets, too."""
        topic = self.settings.topic_prefix + self.stage.outputs[0].name
        outputs = [TopicPartition(topic, number) for number in range(self.settings.topic_partitions)]
        async with aclosing(read_committed_records(self.settings, outputs)) as records:
            async for _ in records:
                return True
        return False

    async def _restore(self, logics: Mapping[TopicPartition, PartitionLogic], topic: str, committed: Committed) -> None:
        changelogs = {TopicPartition(self.settings.topic_prefix + topic, source.partition): source for source in logics}
        counts, since = dict.fromkeys(logics, 0), time.monotonic()

        def beat() -> None:
            for source in logics:  # all of them: one that has been read to its end waits for the others
                self.beat(source)

        async for changelog, records in read_committed_records(self.settings, changelogs, beat):
            source = changelogs[changelog]
            logics[source].restore(records)
            counts[source] += len(records)
        seconds = time.monotonic() - since
        for changelog, source in changelogs.items():
            with structlog.contextvars.bound_contextvars(partition=partition_name(source)):
                check_state(
                    source,
                    committed[source],
                    logics[source].state_offset,
                    changelog.topic,
                    group=self.group,
                    bootstrap_servers=self.settings.kafka_bootstrap_servers,
                )
                compare_with_state(_offset(committed[source]), changelog.topic, counts[source])
                log.info("state restored", changelog_records=counts[source], seconds=round(seconds, 3))
        self.stage.metrics.restored(sum(counts.values()), seconds)

    def _begin(
        self,
        source: TopicPartition,
        logic: PartitionLogic,
        start: StartOffset,
        committed: CommittedOffset | None,
        first: int,
    ) -> AssignedPartition:
        with structlog.contextvars.bound_contextvars(partition=partition_name(source)):
            position = start.choose(_offset(committed), first)
            self.consumer.seek(source, position)
            log.info("partition started", state_size=logic.state_size, offset=position)
        return AssignedPartition(source, logic, position)


def _offset(committed: CommittedOffset | None) -> int | None:
    return None if committed is None else committed.offset
