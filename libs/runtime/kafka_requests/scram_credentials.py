"""AlterUserScramCredentials v0 (KIP-554, Kafka 2.7), which aiokafka 0.14 does not have."""

from typing import ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, Int8, Int16, Int32, Schema

from libs.runtime.kafka_requests.schemas import NAME, TAGS

SCRAM_SHA_512 = 2


class AlterUserScramCredentialsResponseV0(Response):
    """AlterUserScramCredentials response, version 0."""

    API_KEY: ClassVar[int] = 51
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        ("results", CompactArray(("user", NAME), ("error_code", Int16), ("error_message", NAME), TAGS)),
        TAGS,
    )


class AlterUserScramCredentialsRequestV0(RequestStruct):
    """AlterUserScramCredentials request, version 0."""

    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = AlterUserScramCredentialsResponseV0
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", NAME), ("mechanism", Int8), TAGS)),
        (
            "upsertions",
            CompactArray(
                ("name", NAME),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                TAGS,
            ),
        ),
        TAGS,
    )


class UpsertScramSha512(Request[AlterUserScramCredentialsRequestV0]):
    """Creates a user, or changes its password: SCRAM-SHA-512's ``Hi(password, salt, iterations)`` (RFC 5802)."""

    API_KEY = 51

    def __init__(self, user: str, iterations: int, salt: bytes, salted_password: bytes) -> None:
        self._upsertion: tuple[object, ...] = (user, SCRAM_SHA_512, iterations, salt, salted_password, {})

    def build(
        self, request_struct_class: type[AlterUserScramCredentialsRequestV0]
    ) -> AlterUserScramCredentialsRequestV0:
        return request_struct_class([], [self._upsertion], {})
