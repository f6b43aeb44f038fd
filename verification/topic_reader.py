"""Reads committed records between two offsets, the end offsets of partitions, and the offsets of groups."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    NotCoordinatorForGroupError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_client.group_offsets import group_offsets
from libs.runtime.kafka_client.header_keys import read_any_header_key

Offsets = dict[int, int]
"""Offset by partition."""

Record = ConsumerRecord[bytes | None, bytes | None]

_STUCK_AFTER_S = 60.0
_POLL_S = 0.05
_TAIL_RECORDS = 64
_CLOCKS_DIFFER_MS = 3_600_000


class TopicReader:
    """A consumer without a group, which commits nothing."""

    def __init__(self, kafka: Kafka) -> None:
        read_any_header_key()
        self._kafka = kafka
        self._admin = AIOKafkaAdminClient(**client_arguments(kafka))
        self._consumer = _consumer(kafka, "read_committed")
        self._ahead = _consumer(kafka, "read_uncommitted")

    async def __aenter__(self) -> Self:
        try:
            await self._admin.start()
            await self._consumer.start()
            await self._ahead.start()
        except KafkaError as error:
            await self.__aexit__(None, None, None)
            # aiokafka's message for a failed bootstrap is the repr of the list of addresses.
            reason = "" if isinstance(error, KafkaConnectionError) else f": {error}"
            raise PipelineError(
                f"no broker at {self._kafka}{reason}", advice="start the pipeline, or give another --bootstrap"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        await self._ahead.stop()
        await self._admin.close()

    async def partitions(self, topic: str) -> list[int]:
        """The partitions of ``topic``; raises ``PipelineError`` if it does not exist."""
        (description,) = await self._admin.describe_topics([topic])
        if description["error_code"]:
            raise PipelineError(f"there is no topic {topic!r}", advice="start the pipeline, or give its --topic-prefix")
        return sorted(each["partition"] for each in description["partitions"])

    async def max_message_bytes(self, topic: str) -> int | None:
        """The largest record batch that ``topic`` accepts; None if this client is not allowed to read it."""
        found = await self._settings(topic, "max.message.bytes")
        return None if found is None else int(found["max.message.bytes"])

    async def expired_until_ms(self, topic: str, now_s: float) -> float:
        """The latest timestamp, in epoch milliseconds, of a record that ``topic`` may have deleted because of its age.

        ``inf`` if that is unknown: records are deleted for another reason, or this client is not allowed to read the settings. An hour is
        added, in case the broker's clock and that of ``now_s`` differ.
        """
        found = await self._settings(topic, "retention.ms", "retention.bytes")
        if found is None or found["retention.bytes"] != "-1" or found["retention.ms"] == "-1":
            return math.inf
        return now_s * 1000 - int(found["retention.ms"]) + _CLOCKS_DIFFER_MS

    async def _settings(self, topic: str, *names: str) -> dict[str, str] | None:
        """These settings of ``topic``; None if this client is not allowed to read them."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(names, ""))
        (response,) = await self._admin.describe_configs([resource])
        ((code, message, _, _, entries),) = response.resources  # type: ignore[attr-defined]  # no fields in the base class
        if (error := for_code(code)) in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            return None
        if code:
            raise error(message)
        return {name: value for name, value, *_ in entries if name in names}

    async def begins(self, topic: str) -> Offsets:
        """The first offset of each partition."""
        found = await self._consumer.beginning_offsets(await self._topic_partitions(topic))
        return {partition.partition: offset for partition, offset in found.items()}

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Offsets:
        """For each partition an offset, at most the end, before which every record is older than ``timestamp_ms``.

        Records after it can be older, too: the broker also finds the marker of a transaction, by the time of its commit.
        """
        partitions, ends = await self._topic_partitions(topic), await self.ends(topic)
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, timestamp_ms))
        return {each.partition: at.offset if (at := found[each]) else ends[each.partition] for each in partitions}

    async def first_record(self, topic: str, partition: int, begin: int, end: int) -> Record | None:
        """The first committed record at or after ``begin``; None if there is none before ``end``."""
        async for records in self.read(topic, {partition: begin}, {partition: end}):
            if records:
                return records[0]
        return None

    async def ends(self, topic: str) -> Offsets:
        """The last stable offset of each partition."""
        found = await self._consumer.end_offsets(await self._topic_partitions(topic))
        return {partition.partition: offset for partition, offset in found.items()}

    async def settled_ends(self, topic: str) -> Offsets:
        """The end offsets, once all records written up to now are committed or aborted.

        A group's committed offset can be visible a moment before the records of the same transaction: the coordinator writes the
        marker to each partition separately.
        """
        partitions = await self._topic_partitions(topic)
        written = {each.partition: end for each, end in (await self._ahead.end_offsets(partitions)).items()}
        for _ in range(round(_STUCK_AFTER_S / _POLL_S)):
            ends = await self.ends(topic)
            if all(ends[partition] >= end for partition, end in written.items()):
                return ends
            await asyncio.sleep(_POLL_S)
        raise PipelineError(
            f"a transaction in {topic} stays open", advice="`pipeline doctor` finds it, and says what to do"
        )

    async def committed(self, group: str, topic: str) -> Offsets:
        """The group's committed offset in each partition of ``topic`` that has one."""
        found = await self._group_offsets(group)
        return {each.partition: position.offset for each, position in found.items() if each.topic == topic}

    async def _group_offsets(self, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
        deadline_s = time.monotonic() + _STUCK_AFTER_S
        while True:
            try:
                return await group_offsets(self._admin, group)
            except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
                # It moves, it loads, or a new broker creates __consumer_offsets at the first request.
                if time.monotonic() > deadline_s:
                    raise
            await asyncio.sleep(_POLL_S)

    async def read(self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[list[Record]]:
        """The committed records from ``begins`` (inclusive) to ``ends`` (exclusive), in chunks of one partition each."""
        open_ends = {
            TopicPartition(topic, partition): end for partition, end in ends.items() if begins.get(partition, 0) < end
        }
        self._consumer.assign(list(open_ends))
        for partition in open_ends:
            self._consumer.seek(partition, begins.get(partition.partition, 0))
        loop = asyncio.get_running_loop()
        moved_s = loop.time()
        while open_ends:
            batches = await self._consumer.getmany(*open_ends, timeout_ms=200)
            for partition, records in batches.items():
                end = open_ends[partition]
                yield records if records[-1].offset < end else [each for each in records if each.offset < end]
                moved_s = loop.time()
            # The position also advances over offsets without a record: transaction markers and aborted records.
            for partition in list(open_ends):
                if await self._consumer.position(partition) >= open_ends[partition]:
                    del open_ends[partition]
                    self._consumer.pause(partition)
                    moved_s = loop.time()
            if loop.time() - moved_s > _STUCK_AFTER_S:
                raise PipelineError(f"{topic} cannot be read on to {open_ends}", advice="look at the broker's log")

    async def record_ends(self, topic: str, ends: Mapping[int, int]) -> Offsets:
        """For each partition the offset after its last record before ``ends``.

        A transaction marker takes an offset, too, so the offset of a group that has read everything may stay below the
        partition's end.
        """
        begins = await self.begins(topic)
        found = {partition: begins[partition] for partition in ends}
        unknown, span = dict(ends), _TAIL_RECORDS
        while unknown:
            starts = {partition: max(begins[partition], end - span) for partition, end in unknown.items()}
            async for records in self.read(topic, starts, unknown):
                if records:
                    found[records[0].partition] = records[-1].offset + 1
            unknown = {
                partition: starts[partition]
                for partition in unknown
                if found[partition] == begins[partition] < starts[partition]
            }
            span *= 8
        return found

    async def _topic_partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for partition in await self.partitions(topic)]


def reading_failed(error: KafkaError) -> PipelineError:
    """The error to raise if the broker refused, or did not answer, while topics were read."""
    if isinstance(error, OffsetOutOfRangeError):
        return PipelineError(f"records were deleted while they were read: {error}", advice="try again")
    return PipelineError(f"the broker went away: {error!r}", advice="try again once it is back")


def _consumer(kafka: Kafka, isolation_level: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_arguments(kafka),
        isolation_level=isolation_level,
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
