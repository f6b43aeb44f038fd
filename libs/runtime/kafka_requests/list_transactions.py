"""ListTransactions v0 (KIP-664, Kafka 3.0): the transactions that a broker coordinates, by their state."""

from collections.abc import Sequence
from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema

from libs.runtime.kafka_requests.schemas import NAME, TAGS

PREPARE_COMMIT, COMPLETE_COMMIT, COMPLETE_ABORT = "PrepareCommit", "CompleteCommit", "CompleteAbort"
UNDECIDED = ("Ongoing", PREPARE_COMMIT, "PrepareAbort")
"""The states of a transaction that its coordinator is going to end."""


class ListTransactionsResponseV0(Response):
    """ListTransactions response, version 0."""

    API_KEY: ClassVar[int] = 66
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(NAME)),
        (
            "transactions",
            CompactArray(("transactional_id", NAME), ("producer_id", Int64), ("transaction_state", NAME), TAGS),
        ),
        TAGS,
    )


class ListTransactionsRequestV0(RequestStruct):
    """ListTransactions request, version 0."""

    FLEXIBLE_VERSION = True
    API_KEY = 66
    API_VERSION = 0
    RESPONSE_TYPE = ListTransactionsResponseV0
    SCHEMA = Schema(
        ("state_filters", CompactArray(NAME)),
        ("producer_id_filters", CompactArray(Int64)),
        TAGS,
    )


class ListTransactions(Request[ListTransactionsRequestV0]):
    """Asks for the transactions in any of ``states``, such as ``Ongoing``."""

    API_KEY = 66

    def __init__(self, states: Sequence[str]) -> None:
        self._states = list(states)

    def build(self, request_struct_class: type[ListTransactionsRequestV0]) -> ListTransactionsRequestV0:
        return request_struct_class(self._states, [], {})
