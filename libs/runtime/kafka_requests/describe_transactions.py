"""DescribeTransactions v0 (KIP-664, Kafka 3.0): what a coordinator knows about the last transaction of transactional ids."""

from collections.abc import Sequence
from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema

from libs.runtime.kafka_requests.schemas import NAME, TAGS


class DescribeTransactionsResponseV0(Response):
    """DescribeTransactions response, version 0."""

    API_KEY: ClassVar[int] = 65
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", NAME),
                ("transaction_state", NAME),
                ("transaction_timeout_ms", Int32),
                ("transaction_start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", CompactArray(("topic", NAME), ("partitions", CompactArray(Int32)), TAGS)),
                TAGS,
            ),
        ),
        TAGS,
    )


class DescribeTransactionsRequestV0(RequestStruct):
    """DescribeTransactions request, version 0."""

    FLEXIBLE_VERSION = True
    API_KEY = 65
    API_VERSION = 0
    RESPONSE_TYPE = DescribeTransactionsResponseV0
    SCHEMA = Schema(("transactional_ids", CompactArray(NAME)), TAGS)


class DescribeTransactions(Request[DescribeTransactionsRequestV0]):
    """Asks the coordinator of ``transactional_ids``."""

    API_KEY = 65

    def __init__(self, transactional_ids: Sequence[str]) -> None:
        self._transactional_ids = list(transactional_ids)

    def build(self, request_struct_class: type[DescribeTransactionsRequestV0]) -> DescribeTransactionsRequestV0:
        return request_struct_class(self._transactional_ids, {})
