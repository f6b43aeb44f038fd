"""A group's committed offsets, as a test looks at them: stable ones only."""

from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.settings import ServiceSettings
from libs.runtime.transactions.connection import BrokerConnection


class CommittedOffsets:
    """Connects when first asked."""

    def __init__(self, settings: ServiceSettings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._connection: BrokerConnection | None = None

    async def fetch(self, partition: TopicPartition) -> int | None:
        """The committed offset, None without one; waits while a transaction is about to change it."""
        if self._connection is None:
            self._connection = await BrokerConnection.open(self._settings)
        return (await stable_offsets(self._connection, self._group, [partition]))[partition]

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
