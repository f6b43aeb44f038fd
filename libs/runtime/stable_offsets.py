"""Committed offsets that no transaction is still about to change.

aiokafka reads offsets with OffsetFetch v3, which answers with the old offset while the marker of a finished transaction
is on its way to the group's coordinator; starting there would process a batch twice. Version 7 (KIP-447) knows
``require_stable``, with which the broker says UNSTABLE_OFFSET_COMMIT instead, and we ask again. To be dropped when
aiokafka's ``committed()`` asks for stable offsets itself.
"""

import asyncio
from typing import Any, ClassVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import BrokerResponseError, KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema
from aiokafka.structs import TopicPartition

from libs.runtime.flexible_schemas import NAME, TAGS, topics_of

_UNSTABLE_OFFSET_COMMIT = 88  # newer than aiokafka's table of errors
_NO_OFFSET = -1
_RETRY_S = 0.02
_RETRY_COORDINATOR_S = 0.2  # it is being elected, or loads the group


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
    """OffsetFetch request, version 7: the first with ``require_stable``."""

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


class _StableOffsetFetch(Request[OffsetFetchRequestV7]):
    API_KEY = 9

    def __init__(self, group: str, partition: TopicPartition) -> None:
        self._group = group
        self._partition = partition

    def build(self, request_struct_class: type[OffsetFetchRequestV7]) -> OffsetFetchRequestV7:
        topics: list[tuple[str, list[int], dict[int, bytes]]] = [
            (self._partition.topic, [self._partition.partition], {})
        ]
        return request_struct_class(self._group, topics, True, {})


class StableOffsets:
    """Reads a group's committed offsets; connects when first asked."""

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._group = group
        self._client: AIOKafkaClient | None = None
        self._connecting = asyncio.Lock()

    async def fetch(self, partition: TopicPartition) -> int | None:
        """The committed offset of ``partition``, or None if there is none.

        Waits while a commit is under way, and for the group's coordinator to be ready.

        Raises:
            KafkaError: the coordinator cannot be reached, or refuses.
        """
        while True:
            try:
                code, offset = await self._ask(partition)
                if code == _UNSTABLE_OFFSET_COMMIT:
                    await asyncio.sleep(_RETRY_S)
                    continue
                if code:
                    refusal: type[BrokerResponseError] = for_code(code)
                    raise refusal(f"reading the committed offset of {partition}")
            except KafkaError as error:
                await self.close()  # whoever is the coordinator is looked up anew the next time
                if not (isinstance(error, BrokerResponseError) and error.retriable):
                    raise
                await asyncio.sleep(_RETRY_COORDINATOR_S)
            else:
                return None if offset == _NO_OFFSET else offset

    async def _ask(self, partition: TopicPartition) -> tuple[int, int]:
        async with self._connecting:
            if self._client is None:
                client = AIOKafkaClient(bootstrap_servers=self._bootstrap_servers)
                try:
                    await client.bootstrap()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
        client = self._client
        node = await client.coordinator_lookup(CoordinationType.GROUP, self._group)
        request = _StableOffsetFetch(self._group, partition)
        response: Any = await client.send(node, request, group=ConnectionGroup.COORDINATION)
        if response.error_code:
            return response.error_code, _NO_OFFSET
        ((_, ((_, offset, _, _, code, _),), _),) = response.topics
        return code, offset

    async def close(self) -> None:
        """Close the connections; a later ``fetch`` opens them again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
