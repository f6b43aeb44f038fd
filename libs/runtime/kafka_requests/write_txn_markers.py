"""WriteTxnMarkers v1 (KIP-98, Kafka 2.8): ends a transaction in a partition. Brokers send it; for a client it is a repair."""

from dataclasses import dataclass
from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema

from libs.runtime.kafka_requests.schemas import NAME, TAGS


class WriteTxnMarkersResponseV1(Response):
    """WriteTxnMarkers response, version 1."""

    API_KEY: ClassVar[int] = 27
    API_VERSION: ClassVar[int] = 1
    SCHEMA: ClassVar[Schema] = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                (
                    "topics",
                    CompactArray(
                        ("name", NAME),
                        ("partitions", CompactArray(("partition_index", Int32), ("error_code", Int16), TAGS)),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )


class WriteTxnMarkersRequestV1(RequestStruct):
    """WriteTxnMarkers request, version 1."""

    FLEXIBLE_VERSION = True
    API_KEY = 27
    API_VERSION = 1
    RESPONSE_TYPE = WriteTxnMarkersResponseV1
    SCHEMA = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("transaction_result", Boolean),
                ("topics", CompactArray(("name", NAME), ("partition_indexes", CompactArray(Int32)), TAGS)),
                ("coordinator_epoch", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


@dataclass(frozen=True)
class CommitMarker(Request[WriteTxnMarkersRequestV1]):
    """Asks the leader of a partition to commit the producer's open transaction in it."""

    API_KEY = 27

    topic: str
    partition: int
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int

    def build(self, request_struct_class: type[WriteTxnMarkersRequestV1]) -> WriteTxnMarkersRequestV1:
        topics: list[tuple[object, ...]] = [(self.topic, [self.partition], {})]
        marker: tuple[object, ...] = (self.producer_id, self.producer_epoch, True, topics, self.coordinator_epoch, {})
        return request_struct_class([marker], {})
