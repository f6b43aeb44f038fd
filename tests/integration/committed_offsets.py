"""Reads a group's committed offsets, stable ones only."""

from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.transactions.connection import BrokerConnection


class CommittedOffsets:
    """Connects at the first call."""

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._group = group
        self._connection: BrokerConnection | None = None

    async def fetch(self, partition: TopicPartition) -> int | None:
        """The committed offset, None without one; waits while a pending transaction may change it."""
        if self._connection is None:
            self._connection = await BrokerConnection.open(self._bootstrap_servers)
        committed = (await stable_offsets(self._connection, self._group, [partition]))[partition]
        return committed and committed.offset

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
