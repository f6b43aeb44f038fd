"""DescribeProducers v0 (KIP-664, Kafka 2.8): the active producers of partitions, and the start of an open transaction."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema

from libs.runtime.kafka_requests.schemas import NAME, TAGS, topics_of

NO_TRANSACTION = -1
"""In the place of the offset where a transaction begins."""


class DescribeProducersResponseV0(Response):
    """DescribeProducers response, version 0."""

    API_KEY: ClassVar[int] = 61
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        topics_of(
            ("partition_index", Int32),
            ("error_code", Int16),
            ("error_message", NAME),
            (
                "active_producers",
                CompactArray(
                    ("producer_id", Int64),
                    ("producer_epoch", Int32),
                    ("last_sequence", Int32),
                    ("last_timestamp", Int64),
                    ("coordinator_epoch", Int32),
                    ("current_txn_start_offset", Int64),
                    TAGS,
                ),
            ),
        ),
        TAGS,
    )


class DescribeProducersRequestV0(RequestStruct):
    """DescribeProducers request, version 0."""

    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponseV0
    SCHEMA = Schema(
        ("topics", CompactArray(("name", NAME), ("partition_indexes", CompactArray(Int32)), TAGS)),
        TAGS,
    )


class DescribeProducers(Request[DescribeProducersRequestV0]):
    """Asks the leader of ``partitions``, by topic."""

    API_KEY = 61

    def __init__(self, partitions: Mapping[str, Collection[int]]) -> None:
        self._partitions = partitions

    def build(self, request_struct_class: type[DescribeProducersRequestV0]) -> DescribeProducersRequestV0:
        topics: list[tuple[str, list[int], dict[int, bytes]]] = [
            (topic, sorted(numbers), {}) for topic, numbers in self._partitions.items()
        ]
        return request_struct_class(topics, {})
