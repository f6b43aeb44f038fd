"""The committed offsets of a consumer group, without joining it."""

from collections.abc import Collection
from itertools import groupby
from typing import Any

from aiokafka.errors import for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.runtime.kafka_client.clients import AIOKafkaAdminClient


async def group_offsets(
    admin: AIOKafkaAdminClient, group: str, partitions: Collection[TopicPartition] | None = None
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The committed offset of each of ``partitions`` that has one; None: of all partitions.

    aiokafka's ``list_consumer_group_offsets`` returns nothing if the group's coordinator answers with an error.

    Raises:
        KafkaError: the coordinator, or the answer for a partition, has an error.
    """
    topics = None if partitions is None else _by_topic(partitions)
    coordinator = await admin.find_coordinator(group)
    answer: Any = await admin._send_request(OffsetFetchRequest(group, topics), coordinator)  # noqa: SLF001
    committed: dict[TopicPartition, OffsetAndMetadata] = {}
    _raise_for(answer.error_code, f"group {group!r}")
    for topic, answers in answer.topics:
        for number, offset, metadata, code in answers:
            _raise_for(code, f"group {group!r}, {topic}-{number}")
            if offset >= 0:
                committed[TopicPartition(topic, number)] = OffsetAndMetadata(offset, metadata)
    return committed


def _by_topic(partitions: Collection[TopicPartition]) -> list[tuple[str, list[int]]]:
    ordered = groupby(sorted(partitions), lambda each: each.topic)
    return [(topic, [each.partition for each in alike]) for topic, alike in ordered]


def _raise_for(code: int, what: str) -> None:
    if code:
        raise for_code(code)(f"reading the offsets of {what}")
