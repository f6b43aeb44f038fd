"""Reads letters and replay marks, and the layout of the topics."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.errors import KafkaError, for_code

from dead_letters.dead_letter import DeadLetter, Place, read_letter
from dead_letters.replay_marks import Replayed, decode_mark
from libs.events.topics import DEAD_LETTERS_REPLAYED, ORDERS, ORDERS_DLQ
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, Kafka, client_arguments
from verification.topic_reader import Offsets, TopicReader, reading_failed

_BROKERS_DEFAULT_BYTES = 1_048_588


@dataclass(frozen=True)
class Topics:
    """The topics' full names and partitions in one cluster; ``orders_max_bytes`` limits a record batch.

    ``marks_partitions`` is 0 as long as that topic does not exist. It outlives a recomputation, so it may have fewer than the others.
    """

    cluster_id: str
    orders: str
    letters: str
    marks: str
    orders_partitions: int
    orders_max_bytes: int
    letters_partitions: int
    letters_replicas: int
    marks_partitions: int


class LetterReader:
    """Reads committed records; each call reads its topic from the beginning.

    Letters and marks behind an open transaction cannot be read. So ends and marks are read only after it has ended; if it stays open,
    ``PipelineError`` is raised: a count without them would be wrong, and their letters could be replayed twice.
    """

    def __init__(self, topics: Topics, reader: TopicReader) -> None:
        self.topics = topics
        self._reader = reader

    async def settled_ends(self) -> Offsets:
        """As ``TopicReader.settled_ends``: after all letters that are written by now."""
        return await self._reader.settled_ends(self.topics.letters)

    async def begins(self) -> Offsets:
        """The first offsets of the letters: earlier ones were deleted."""
        return await self._reader.begins(self.topics.letters)

    async def offsets_at(self, timestamp_ms: int) -> Offsets:
        """As ``TopicReader.offsets_at``: for each partition an offset before which every letter is older."""
        return await self._reader.offsets_at(self.topics.letters, timestamp_ms)

    async def expired_until_ms(self, now_s: float) -> float:
        """As ``TopicReader.expired_until_ms``: the latest timestamp of a letter that has expired."""
        return await self._reader.expired_until_ms(self.topics.letters, now_s)

    async def letters(
        self, ends: Mapping[int, int], begins: Mapping[int, int] | None = None
    ) -> AsyncIterator[list[DeadLetter]]:
        """The letters from ``begins`` (None: all) to ``ends``, in chunks of one partition each, oldest first."""
        begins = await self.begins() if begins is None else begins
        async for records in self._reader.read(self.topics.letters, begins, ends):
            yield [read_letter(record) for record in records]

    async def letters_at(self, places: Collection[Place]) -> AsyncIterator[list[DeadLetter]]:
        """The letters at ``places``; raises ``PipelineError`` if there is none at one of them."""
        begins = await self._reader.begins(self.topics.letters)
        ends = await self.settled_ends()
        for place in sorted(places):
            if place.partition not in ends:
                raise _no_letter(place, f"{self.topics.letters} has the partitions 0 to {len(ends) - 1}")
            if place.offset < begins[place.partition]:
                raise _no_letter(place, f"letters before {place.partition}/{begins[place.partition]} were deleted")
            if place.offset >= ends[place.partition]:
                end = ends[place.partition]
                raise _no_letter(
                    place, f"that partition ends before {place.partition}/{end}" if end else "that partition is empty"
                )
        wanted = set(places)
        for partition in sorted({place.partition for place in places}):
            offsets = [place.offset for place in places if place.partition == partition]
            span = {partition: min(offsets)}, {partition: max(offsets) + 1}
            async for records in self._reader.read(self.topics.letters, *span):
                found = [read_letter(record) for record in records if Place(partition, record.offset) in wanted]
                wanted.difference_update(letter.place for letter in found)
                yield found
        if wanted:
            raise _no_letter(min(wanted), "that offset is a transaction marker, or a record that was never committed")

    async def replayed(self) -> Replayed:
        """The letters that have a replay mark; none as long as no letter was ever replayed."""
        replayed = Replayed()
        if self.topics.marks_partitions:
            begins = await self._reader.begins(self.topics.marks)
            ends = await self._reader.settled_ends(self.topics.marks)
            async for records in self._reader.read(self.topics.marks, begins, ends):
                for record in records:
                    replayed.add(*decode_mark(record.key, record.value))
        return replayed


def _no_letter(place: Place, why: str) -> PipelineError:
    return PipelineError(f"there is no dead letter at {place}", advice=why)


@asynccontextmanager
async def letter_reader(kafka: Kafka, topic_prefix: str) -> AsyncIterator[LetterReader]:
    """A connected reader; errors of the broker inside the block become ``PipelineError``."""
    try:
        async with TopicReader(kafka) as reader:
            yield LetterReader(await _look_up(kafka, topic_prefix, reader), reader)
    except KafkaError as error:
        raise reading_failed(error) from error


async def _look_up(kafka: Kafka, topic_prefix: str, reader: TopicReader) -> Topics:
    orders, letters, marks = (topic_prefix + each.name for each in (ORDERS, ORDERS_DLQ, DEAD_LETTERS_REPLAYED))
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    try:
        await admin.start()
        existing = await admin.list_topics()
        for name in (orders, letters):
            if name not in existing:
                raise PipelineError(
                    f"there is no topic {name!r}", advice="start the pipeline, or give its --topic-prefix"
                )
        partitions = {}
        for topic in await admin.describe_topics([name for name in (orders, letters, marks) if name in existing]):
            if topic["error_code"]:
                raise for_code(topic["error_code"])(f"topic {topic['topic']!r}")
            partitions[topic["topic"]] = topic["partitions"]
        return Topics(
            str((await admin.describe_cluster())["cluster_id"]),
            orders,
            letters,
            marks,
            orders_partitions=len(partitions[orders]),
            orders_max_bytes=await reader.max_message_bytes(orders) or _BROKERS_DEFAULT_BYTES,
            letters_partitions=len(partitions[letters]),
            letters_replicas=len(partitions[letters][0]["replicas"]),
            marks_partitions=len(partitions.get(marks, ())),
        )
    finally:
        await admin.close()
