"""OffsetFetch v7, the first version with ``require_stable`` (KIP-447).

aiokafka 0.14 stops at version 3, which answers with the previous offset while the marker of a finished transaction is
still on its way to the group's coordinator.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_requests.schemas import NAME, TAGS, topics_of


class OffsetFetchResponseV7(Response):
    """OffsetFetch response, version 7."""

    API_KEY: ClassVar[int] = 9
    API_VERSION: ClassVar[int] = 7
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        topics_of(
            ("partition_index", Int32),
            ("committed_offset", Int64),
            ("committed_leader_epoch", Int32),
            ("metadata", NAME),
            ("error_code", Int16),
        ),
        ("error_code", Int16),
        TAGS,
    )


class OffsetFetchRequestV7(RequestStruct):
    """OffsetFetch request, version 7."""

    FLEXIBLE_VERSION = True
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", NAME),
        ("topics", CompactArray(("name", NAME), ("partition_indexes", CompactArray(Int32)), TAGS)),
        ("require_stable", Boolean),
        TAGS,
    )


class StableOffsetFetch(Request[OffsetFetchRequestV7]):
    """Asks for committed offsets; a partition with an undecided one is answered with UNSTABLE_OFFSET_COMMIT."""

    API_KEY = 9

    def __init__(self, group: str, partitions: Iterable[TopicPartition]) -> None:
        self._group = group
        self._partitions = sorted(partitions)

    def build(self, request_struct_class: type[OffsetFetchRequestV7]) -> OffsetFetchRequestV7:
        topics: list[tuple[str, list[int], dict[int, bytes]]] = [
            (topic, [partition.partition for partition in partitions], {})
            for topic, partitions in groupby(self._partitions, lambda partition: partition.topic)
        ]
        return request_struct_class(self._group, topics, True, {})
