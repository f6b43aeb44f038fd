"""TxnOffsetCommit v3, the first version that names the group's member and generation (KIP-447).

aiokafka 0.14 sends version 0. With it the coordinator accepts offsets from a replica that has lost its partitions.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Int64, Schema
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.kafka_requests.schemas import NAME, TAGS, topics_of

_NO_LEADER_EPOCH = -1


class TxnOffsetCommitResponseV3(Response):
    """TxnOffsetCommit response, version 3."""

    API_KEY: ClassVar[int] = 28
    API_VERSION: ClassVar[int] = 3
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        topics_of(("partition_index", Int32), ("error_code", Int16)),
        TAGS,
    )


class TxnOffsetCommitRequestV3(RequestStruct):
    """TxnOffsetCommit request, version 3."""

    FLEXIBLE_VERSION = True
    API_KEY = 28
    API_VERSION = 3
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", NAME),
        ("group_id", NAME),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", NAME),
        ("group_instance_id", NAME),
        topics_of(
            ("partition_index", Int32),
            ("committed_offset", Int64),
            ("committed_leader_epoch", Int32),
            ("committed_metadata", NAME),
        ),
        TAGS,
    )


class MemberOffsetCommit(Request[TxnOffsetCommitRequestV3]):
    """Adds ``offsets``, the next ones to read, to the open transaction of ``producer`` (its id and epoch).

    Each has the same ``metadata``.
    """

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        member: GroupMember,
        offsets: Mapping[TopicPartition, int],
        metadata: str = "",
    ) -> None:
        self._metadata = metadata
        self._head = (transactional_id, member.group, *producer, member.generation, member.member_id, None)
        self._offsets = sorted(offsets.items())

    def build(self, request_struct_class: type[TxnOffsetCommitRequestV3]) -> TxnOffsetCommitRequestV3:
        topics: list[tuple[object, ...]] = [
            (
                topic,
                [(partition.partition, offset, _NO_LEADER_EPOCH, self._metadata, {}) for partition, offset in offsets],
                {},
            )
            for topic, offsets in groupby(self._offsets, lambda item: item[0].topic)
        ]
        return request_struct_class(*self._head, topics, {})
