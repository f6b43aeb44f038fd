"""Requests to coordinators and partition leaders, over aiokafka's client.

aiokafka's own transaction manager sends a request again if the connection breaks before the response
[aiokafka 0.14: producer/sender.py, BaseHandler.do]. The first copy may still reach the broker after the next
transaction of the same producer id and epoch has begun, and then it acts on that one (KAFKA-17754).
"""

import asyncio
from collections.abc import Collection
from typing import Any, Self

from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import BrokerResponseError, IncompatibleBrokerVersion, KafkaError, NodeNotReadyError
from aiokafka.structs import TopicPartition

from libs.runtime.errors import AnswerLostError
from libs.runtime.kafka_client.clients import AIOKafkaClient, Kafka, client_arguments
from libs.runtime.timing import TRANSACTION_TIMEOUT_MS
from libs.runtime.transactions.error_codes import Meaning, meaning_of

TRANSACTION = CoordinationType.TRANSACTION
GROUP = CoordinationType.GROUP

_PAUSE_S = 0.05


class BrokerConnection:
    """Sends each request at most once; only the look-up of the responsible broker is repeated."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client: Any = client  # typed in parts only
        self._coordinators: dict[tuple[int, str], int] = {}

    @classmethod
    async def open(cls, kafka: Kafka, topics: Collection[str] = ()) -> Self:
        """Connect, and get the leaders of ``topics``.

        Raises:
            KafkaConnectionError: no bootstrap server responds.
            TimeoutError: one does, but without the topics' metadata.
        """
        client = AIOKafkaClient(
            **client_arguments(kafka),
            request_timeout_ms=TRANSACTION_TIMEOUT_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            await client.bootstrap()
            if topics:
                async with asyncio.timeout(TRANSACTION_TIMEOUT_MS / 1000):
                    await client.set_topics(topics)
        except BaseException:
            await client.close()
            raise
        return cls(client)

    async def close(self) -> None:
        await self._client.close()

    def brokers(self) -> list[int]:
        """The ids of all brokers of the cluster."""
        return [broker.nodeId for broker in self._client.cluster.brokers()]

    async def coordinator(self, kind: int, key: str) -> int:
        """The coordinator of a group or a transactional id; waits until there is one."""
        while (kind, key) not in self._coordinators:
            try:
                self._coordinators[kind, key] = await self._client.coordinator_lookup(kind, key)
            except (KafkaError, AssertionError) as error:  # the second: the client knows no broker
                if isinstance(error, BrokerResponseError) and meaning_of(error.errno) is Meaning.REFUSED:
                    raise
                await self.refresh()
        return self._coordinators[kind, key]

    async def leader(self, partition: TopicPartition) -> int:
        """The leader of ``partition``; waits until there is one."""
        while (node := self._client.cluster.leader_for_partition(partition)) in (None, -1):
            await self.refresh()
        return int(node)

    def forget_coordinators(self) -> None:
        """Look coordinators up again at their next use."""
        self._coordinators.clear()

    async def refresh(self) -> None:
        """Refresh the cluster's metadata after a pause, and forget the coordinators."""
        self.forget_coordinators()
        await asyncio.sleep(_PAUSE_S)
        await self._client.force_metadata_update()

    async def ask_coordinator(self, kind: int, key: str, request: Any) -> Any:
        """The response of a coordinator to ``request``.

        Raises:
            AnswerLostError: see ``send``.
        """
        while True:
            try:
                return await self.send(await self.coordinator(kind, key), request, ConnectionGroup.COORDINATION)
            except NodeNotReadyError:
                await self.refresh()

    async def ask_any(self, request: Any) -> Any:
        """The response of any broker to ``request``.

        Raises:
            NodeNotReadyError, AnswerLostError: see ``send``.
        """
        return await self.send(self._client.get_random_node(), request)

    async def ask_controller(self, request: Any) -> Any:
        """The response of the cluster's controller. With KRaft, a broker forwards the request to it.

        Raises:
            NodeNotReadyError, AnswerLostError: see ``send``.
        """
        controller = self._client.cluster.controller
        if controller is None:
            return await self.ask_any(request)
        return await self.send(controller.nodeId, request)

    async def send(self, node: int, request: Any, group: int = ConnectionGroup.DEFAULT) -> Any:
        """The response of broker ``node`` to ``request``.

        Raises:
            NodeNotReadyError: there is no connection to it, and nothing was sent.
            AnswerLostError: the request was sent, and it is unknown whether the broker has processed it, or will.
        """
        try:
            return await self._client.send(node, request, group=group)
        except (NodeNotReadyError, IncompatibleBrokerVersion):
            raise
        except KafkaError as error:
            raise AnswerLostError(f"no answer to {type(request).__name__}: {error!r}") from error
