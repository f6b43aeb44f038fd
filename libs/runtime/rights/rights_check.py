"""Finds out which rights this client lacks.

A broker that denies a request does not name the operation, and aiokafka takes most denials for transient errors. So the
check requests the authorized operations (KIP-430): at the start, periodically, and after an error.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from libs.runtime.errors import MissingRightError, PipelineError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.kafka_client.closing import close_quietly
from libs.runtime.kafka_requests.authorized_operations import UNKNOWN_OPERATIONS, GroupOperations, TopicOperations
from libs.runtime.rights.right import Resource, Right, Role, missing_right_error
from libs.runtime.transactions.connection import GROUP, TRANSACTION, BrokerConnection

_ANSWERS_WITHIN_S = 10.0
_NOTHING = 0


@dataclass
class RightsCheck:
    """Compares the rights of ``role`` with the authorized operations.

    Kafka has no request for the rights on a transactional id. FindCoordinator needs DESCRIBE on it, which WRITE includes. So a
    missing WRITE is not noticed if DESCRIBE is granted by itself.
    """

    kafka: Kafka
    topic_prefix: str
    role: Role
    _connection: BrokerConnection | None = field(default=None, init=False)

    async def missing(self) -> list[Right]:
        """The needed rights that this client lacks; empty if the brokers do not report them.

        Raises:
            KafkaError, OSError, PipelineError, TimeoutError: no broker responds.
        """
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                if self._connection is None:
                    topics = [self.topic_prefix + name for name in self._names(Resource.TOPIC)]
                    self._connection = await BrokerConnection.open(self.kafka, topics)
                return await self._missing(self._connection)
        except BaseException:
            await self.close()  # a new connection also finds brokers whose addresses have changed
            raise

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await close_quietly(connection.close())

    def error(self, missing: Iterable[Right]) -> MissingRightError:
        """The error that names these rights."""
        return missing_right_error(missing, self.topic_prefix, self.kafka, role=self.role.name)

    async def _missing(self, connection: BrokerConnection) -> list[Right]:
        connection.forget_coordinators()
        allowed = await self._topic_operations(connection)
        for name in self._names(Resource.GROUP):
            allowed[Resource.GROUP, name] = await _group_operations(connection, self.topic_prefix + name)
        for name in self._names(Resource.TRANSACTIONAL_ID):
            allowed[Resource.TRANSACTIONAL_ID, name] = await _transactional_id(connection, self.topic_prefix + name)
        return [right for right in self.role.needed if not _has(allowed[right.resource, right.name], right)]

    def _names(self, resource: Resource) -> list[str]:
        return list(dict.fromkeys(right.name for right in self.role.needed if right.resource is resource))

    async def _topic_operations(self, connection: BrokerConnection) -> dict[tuple[Resource, str], int]:
        names = self._names(Resource.TOPIC)
        answer = await connection.ask_any(TopicOperations([self.topic_prefix + name for name in names]))
        operations = {
            topic: _NOTHING if code == TopicAuthorizationFailedError.errno else allowed
            for code, topic, _, _, allowed in answer.topics
        }
        return {(Resource.TOPIC, name): operations.get(self.topic_prefix + name, UNKNOWN_OPERATIONS) for name in names}


def _has(allowed: int, right: Right) -> bool:
    return allowed == UNKNOWN_OPERATIONS or bool(allowed >> right.operation & 1)


async def _group_operations(connection: BrokerConnection, group: str) -> int:
    try:
        answer = await connection.ask_coordinator(GROUP, group, GroupOperations(group))
    except GroupAuthorizationFailedError:
        return _NOTHING
    ((code, *_, operations),) = answer.groups
    if code == GroupAuthorizationFailedError.errno:
        return _NOTHING
    return UNKNOWN_OPERATIONS if code else int(operations)


async def _transactional_id(connection: BrokerConnection, transactional_id: str) -> int:
    try:
        await connection.coordinator(TRANSACTION, transactional_id)
    except TransactionalIdAuthorizationFailed:
        return _NOTHING
    return UNKNOWN_OPERATIONS


async def missing_or_unknown(check: RightsCheck) -> list[Right]:
    """The rights that are certainly missing; empty if no broker reports them."""
    try:
        return await check.missing()
    except (KafkaError, OSError, PipelineError, TimeoutError, AssertionError, NotImplementedError):
        # aiokafka raises AssertionError before it has any metadata, NotImplementedError if the broker lacks these requests.
        return []
