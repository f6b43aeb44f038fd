"""Where to begin: the committed offsets of the partitions that a replica was assigned, and the state that belongs there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once.changelog import read_changelog
from libs.runtime.exactly_once.committed_offsets import (
    CommittedOffset,
    check_gone,
    check_settings,
    check_state,
    check_writer,
)
from libs.runtime.exactly_once.processing import WorkedPartition
from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.exactly_once.start_offset import StartOffset, compare_with_state
from libs.runtime.logic import PartitionLogic, Stage
from libs.runtime.settings import ServiceSettings
from libs.runtime.transactions.connection import BrokerConnection

log = structlog.get_logger()

Committed = Mapping[TopicPartition, CommittedOffset | None]


@dataclass(frozen=True)
class TakeOver:
    """Reads what former owners have committed. They can commit no more: their generation is over.

    Args:
        beat: tells that a partition makes progress.
    """

    stage: Stage
    settings: ServiceSettings
    consumer: AIOKafkaConsumer
    group: str
    beat: Callable[[TopicPartition], None]

    async def read(
        self, connection: BrokerConnection, starts: Mapping[TopicPartition, StartOffset]
    ) -> list[WorkedPartition]:
        """The partitions, ready to be worked; the consumer reads them from their positions.

        Raises:
            OffsetMismatchError: a committed offset is not where this stage's own work ended.
            SettingChangedError: a setting is not what it was then.
        """
        sources = list(starts)
        written = await self._written()
        committed = await stable_offsets(connection, self.group, sources)
        first = await self.consumer.beginning_offsets(sources)
        await self._check(connection, committed, written)
        logics = {source: self.stage.logic(*source) for source in sources}
        if self.stage.changelog is not None:
            await self._restore(logics, self.stage.changelog.name, committed)
        return [
            self._begin(source, logics[source], start, committed[source], first[source])
            for source, start in starts.items()
        ]

    async def _written(self) -> int:
        """How many records the main output has. To be read before the offsets: others may commit in between."""
        if self.stage.accept_offsets is None:
            return 0
        topic = self.settings.topic_prefix + self.stage.outputs[0].name
        outputs = [TopicPartition(topic, number) for number in range(self.settings.topic_partitions)]
        return sum((await self.consumer.end_offsets(outputs)).values())

    async def _check(self, connection: BrokerConnection, committed: Committed, written: int) -> None:
        of_group = committed
        if not all(committed.values()):  # of those without an offset the others' tell
            topic = next(iter(committed)).topic
            everything = [TopicPartition(topic, number) for number in range(self.settings.topic_partitions)]
            of_group = await stable_offsets(connection, self.group, everything)
        for source, offset in of_group.items():
            if offset is not None:
                check_settings(source, offset, self.stage.depends_on)
        if self.stage.accept_offsets is None or self.stage.offsets_accepted:
            return
        check_gone(of_group, written, self.stage.accept_offsets)
        for source, offset in committed.items():
            if offset is not None:
                check_writer(source, offset, self.stage.accept_offsets)

    async def _restore(self, logics: Mapping[TopicPartition, PartitionLogic], topic: str, committed: Committed) -> None:
        changelogs = {TopicPartition(self.settings.topic_prefix + topic, source.partition): source for source in logics}
        counts, since = dict.fromkeys(logics, 0), time.monotonic()
        async for changelog, records in read_changelog(self.settings, changelogs):
            source = changelogs[changelog]
            logics[source].restore(records)
            counts[source] += len(records)
            self.beat(source)
        seconds = time.monotonic() - since
        for changelog, source in changelogs.items():
            with structlog.contextvars.bound_contextvars(partition=_name(source)):
                check_state(source, committed[source], logics[source].state_offset, changelog.topic, self.group)
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
    ) -> WorkedPartition:
        with structlog.contextvars.bound_contextvars(partition=_name(source)):
            position = start.choose(_offset(committed), first)
            self.consumer.seek(source, position)
            log.info("partition started", state_size=logic.state_size, offset=position)
        return WorkedPartition(source, logic, position)


def _offset(committed: CommittedOffset | None) -> int | None:
    return None if committed is None else committed.offset


def _name(source: TopicPartition) -> str:
    return f"{source.topic}-{source.partition}"
