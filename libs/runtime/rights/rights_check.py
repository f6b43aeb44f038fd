"""Asks the brokers which rights this client lacks.

A broker that denies a request does not say which operation it denies, and aiokafka takes most denials for something that
passes. So this asks for the operations that are allowed (KIP-430), at the start, now and then, and after an error.
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
    """Compares what ``role`` needs with what the cluster allows.

    Rights on transactional ids cannot be asked for without using one. Looking for a coordinator needs DESCRIBE on one, which
    WRITE includes; WRITE alone is missed where DESCRIBE is granted by itself.
    """

    kafka: Kafka
    topic_prefix: str
    role: Role
    _connection: BrokerConnection | None = field(default=None, init=False)

    async def missing(self) -> list[Right]:
        """The needed rights that this client lacks; none if the brokers do not tell.

        Raises:
            KafkaError, OSError, PipelineError, TimeoutError: no broker answers.
        """
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                if self._connection is None:
                    topics = [self.topic_prefix + name for name in self._names(Resource.TOPIC)]
                    self._connection = await BrokerConnection.open(self.kafka, topics)
                return await self._missing(self._connection)
        except BaseException:
            await self.close()  # a broker that has moved is found by a new connection
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
    """The rights that are missing for certain; none if no broker tells."""
    try:
        return await check.missing()
    except (KafkaError, OSError, PipelineError, TimeoutError, AssertionError, NotImplementedError):
        # Of aiokafka: AssertionError before there is any metadata, NotImplementedError for a broker without these requests.
        return []
