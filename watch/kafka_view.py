"""Observes a pipeline in Kafka: all offsets, the records of low-volume topics, and the newest ones of the busy topic."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition
from aiokafka.errors import for_code

from libs.events.topics import LATE_ORDERS, ORDERS, ORDERS_DLQ, PROCESSED_ORDERS, PRODUCT_METRICS, SINK_GROUPS
from libs.events.watermarks import WATERMARK_HEADERS, Watermark, decode_watermark
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_client.consumers import FETCH_MAX_BYTES
from libs.runtime.kafka_client.group_offsets import group_offsets
from libs.runtime.kafka_client.header_keys import read_any_header_key
from libs.runtime.kafka_client.member_count import count_members
from watch.new_records import NewRecords, Record
from watch.observation import Metric, Observation, Offsets
from watch.state import READERS, WITH_MEMBERS

_TOPICS = (ORDERS.name, PROCESSED_ORDERS.name, ORDERS_DLQ.name, LATE_ORDERS.name, PRODUCT_METRICS.name)
_FOLLOWED = (ORDERS_DLQ.name, LATE_ORDERS.name, PRODUCT_METRICS.name)

# Records per observation and partition: limits the cost if there are more than anyone could read.
_MOST_RECORDS = 2_000
# Metrics come in bursts: one for each product when a window closes.
_MOST_METRICS = 20_000
_READ_TIMEOUT_S = 2.0
_CONFIRM_S = 2.0


Positions = dict[TopicPartition, int]
"""The positions at which the next observation continues; they outlive a connection."""


class TopicsMissingError(PipelineError):
    """The topics do not exist: no service has created them yet, or none is running."""

    def __init__(self, topics: list[str]) -> None:
        self.topics = ", ".join(topics)
        super().__init__(f"there is no topic {self.topics}", advice="start the pipeline, or give its --topic-prefix")


class TopicsRecreatedError(PipelineError):
    """A topic ends before the last observation's position: it was deleted and recreated, so earlier observations do not count."""


class KafkaView:
    """A connection to Kafka: use it by ``async with``, and call ``look`` periodically.

    Args:
        kafka: the cluster.
        topic_prefix: the pipeline's ``TOPIC_PREFIX``.
        positions: the positions in the low-volume topics; updated after each successful observation.
    """

    def __init__(self, kafka: Kafka, topic_prefix: str, positions: Positions) -> None:
        read_any_header_key()
        self._prefix = topic_prefix
        self._admin = AIOKafkaAdminClient(**client_arguments(kafka), request_timeout_ms=5_000)
        self._consumer = AIOKafkaConsumer(
            **client_arguments(kafka),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="latest",
            request_timeout_ms=5_000,
            fetch_max_wait_ms=100,
            fetch_max_bytes=FETCH_MAX_BYTES,
        )
        self._ahead = AIOKafkaConsumer(
            **client_arguments(kafka),
            isolation_level="read_uncommitted",
            enable_auto_commit=False,
            request_timeout_ms=5_000,
        )
        self._partitions: dict[str, list[TopicPartition]] = {}
        self._positions = positions
        self._next = dict(positions)
        self._cut: set[TopicPartition] = set()  # where metrics were skipped, and none has been read since

    async def __aenter__(self) -> Self:
        try:
            await self._admin.start()
            await self._find_partitions()
            await self._consumer.start()
            await self._ahead.start()
            self._consumer.assign([each for partitions in self._partitions.values() for each in partitions])
            self._consumer.pause(*self._consumer.assignment())
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        await self._ahead.stop()
        await self._admin.close()

    async def _find_partitions(self) -> None:
        names = [self._prefix + name for name in _TOPICS]
        missing = sorted(set(names) - set(await self._admin.list_topics()))
        if missing:
            raise TopicsMissingError(missing)
        for topic in await self._admin.describe_topics(names):
            if topic["error_code"]:
                raise for_code(topic["error_code"])(f"topic {topic['topic']!r}")
            name = topic["topic"].removeprefix(self._prefix)
            self._partitions[name] = [TopicPartition(topic["topic"], each["partition"]) for each in topic["partitions"]]

    async def look(self) -> Observation:
        """The current offsets, and the records since the last observation.

        Raises:
            TopicsRecreatedError: to begin again, use a view without positions.
        """
        everything = [each for partitions in self._partitions.values() for each in partitions]
        begins = await self._consumer.beginning_offsets(everything)
        # The groups first: their committed offsets are then below the end offsets read afterwards.
        committed = {topic: await self._committed(group, topic) for topic, group in READERS.items()}
        in_database = await self._committed(SINK_GROUPS["database"], PRODUCT_METRICS.name)
        by_output = {"file": committed[PRODUCT_METRICS.name], "database": in_database}
        if not committed[PRODUCT_METRICS.name]:  # the database is the sink's only output, if it has one
            committed[PRODUCT_METRICS.name] = in_database
        members = {group: await self._members(group) for group in WITH_MEMBERS}
        # Before the stable ends: a record that arrives in between must not look blocked.
        written = await self._ahead.end_offsets([each for topic in READERS for each in self._partitions[topic]])
        ends = await self._consumer.end_offsets(everything)
        if self._are_beyond(ends):
            await asyncio.sleep(_CONFIRM_S)  # a broker that has just started may not have loaded all of its log yet
            ends = await self._consumer.end_offsets(everything)
            if self._are_beyond(ends):
                raise TopicsRecreatedError("a topic was recreated")
        at_s = time.time()
        unread = self._start_followed(begins, ends)
        new = NewRecords(self._prefix)
        await self._read(ends, [each for name in _FOLLOWED for each in self._partitions[name]], new.take)
        all_letters_read = not unread[ORDERS_DLQ.name] and self._has_read(ORDERS_DLQ.name, ends)
        seen = Observation(
            at_s=at_s,
            begins=self._by_topic(begins),
            ends=self._by_topic(ends),
            committed=committed,
            members=members,
            marks=await self._newest_marks(begins, ends),
            metrics=[metric for _, metric in new.metrics],
            dead_letters=new.dead_letters,
            rejected=new.rejected if all_letters_read else None,
            late=new.late,
            unread=unread,
            cut_until_s=self._cut_until_s(new.metrics),
            all_metrics_read=self._has_read(PRODUCT_METRICS.name, ends),
            by_output=by_output,
            blocked={
                topic: sum(max(0, written[each] - ends[each]) for each in self._partitions[topic]) for topic in READERS
            },
        )
        self._positions.update(self._next)
        return seen

    def _has_read(self, name: str, ends: dict[TopicPartition, int]) -> bool:
        return all(self._next[each] >= ends[each] for each in self._partitions[name])

    def _are_beyond(self, ends: dict[TopicPartition, int]) -> bool:
        return any(position > ends.get(partition, position) for partition, position in self._next.items())

    def _cut_until_s(self, metrics: Iterable[tuple[int, Metric]]) -> int | None:
        """The end of the latest window that may have metrics among the skipped ones.

        A partition has its windows in order, so all windows after the first one read are complete in that partition.
        """
        ends_s = []
        for number, metric in metrics:
            partition = TopicPartition(self._prefix + PRODUCT_METRICS.name, number)
            if partition in self._cut:
                self._cut.discard(partition)
                ends_s.append(metric.window_end)
        return max(ends_s, default=None)

    async def _committed(self, group: str, topic: str) -> Offsets:
        found = await group_offsets(self._admin, self._prefix + group)
        return {each.partition: at.offset for each, at in found.items() if each.topic == self._prefix + topic}

    async def _members(self, group: str) -> int:
        code, members = await count_members(self._admin, self._prefix + group)
        if code:
            raise for_code(code)(f"group {self._prefix + group!r}")
        return members

    def _by_topic(self, offsets: dict[TopicPartition, int]) -> dict[str, Offsets]:
        return {
            name: {each.partition: offsets[each] for each in partitions}
            for name, partitions in self._partitions.items()
        }

    def _start_followed(self, begins: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> Counter[str]:
        """Set the positions in the low-volume topics; returns the number of offsets that are skipped."""
        unread: Counter[str] = Counter()
        for name in _FOLLOWED:
            for partition in self._partitions[name]:
                position = min(max(self._next.get(partition, 0), begins[partition]), ends[partition])
                most = _MOST_METRICS if name == PRODUCT_METRICS.name else _MOST_RECORDS
                self._next[partition] = max(position, ends[partition] - most)
                unread[name] += self._next[partition] - position
                if name == PRODUCT_METRICS.name and self._next[partition] > position:
                    self._cut.add(partition)
        return unread

    async def _newest_marks(
        self, begins: dict[TopicPartition, int], ends: dict[TopicPartition, int]
    ) -> list[Watermark]:
        """The watermarks at the end of one partition. Each partition has them all; the shortest has the fewest orders to read."""
        partition = min(self._partitions[PROCESSED_ORDERS.name], key=lambda each: ends[each] - begins[each])
        position = min(self._next.get(partition, 0), ends[partition])
        self._next[partition] = max(begins[partition], ends[partition] - _MOST_RECORDS, position)
        marks: list[Watermark] = []
        await self._read(ends, [partition], lambda records: marks.extend(_marks_in(records)))
        return marks

    async def _read(
        self,
        ends: dict[TopicPartition, int],
        partitions: Iterable[TopicPartition],
        take: Callable[[Iterable[Record]], None],
    ) -> None:
        """Read from the end of the last observation to ``ends``; nothing is fetched between two observations.

        ``take`` gets the records of each response. None is kept here, since they may be large.
        """
        due = [each for each in partitions if self._next[each] < ends[each]]
        for partition in due:
            self._consumer.seek(partition, self._next[partition])
        self._consumer.resume(*due)
        deadline_s = time.monotonic() + _READ_TIMEOUT_S
        try:
            while due and time.monotonic() < deadline_s:
                take(chain.from_iterable((await self._consumer.getmany(*due, timeout_ms=100)).values()))
                for partition in list(due):
                    self._next[partition] = await self._consumer.position(partition)
                    if self._next[partition] >= ends[partition]:
                        due.remove(partition)
                        self._consumer.pause(partition)
                await asyncio.sleep(0)
        finally:
            self._consumer.pause(*due)


def _marks_in(records: Iterable[Record]) -> Iterator[Watermark]:
    for record in records:
        if list(record.headers) == WATERMARK_HEADERS:
            try:
                yield decode_watermark(record.value)
            except ValueError:
                continue  # invalid; the analytics reports it
