"""Finds the broker whose answers about the group's committed offsets count."""

from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once.committed_offsets import NOT_TO_COMMIT
from libs.runtime.exactly_once.left_open import LeftOpenTransactions
from libs.runtime.kafka_client.closing import close_quietly
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.transactions.connection import GROUP, BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.transactional_ids import StageTransactionalIds


class GroupCoordinator:
    """The coordinator of the group of ``member``, known by an offset of this member that it has accepted.

    A broker that was the coordinator before, and does not know that it is none any more, answers with old offsets. But it cannot
    accept one, since the replicas in sync do not acknowledge it. The broker that accepts one has the offsets of all earlier
    generations, committed or pending, and no further one of them comes (docs/decisions/0014-one-transaction-for-a-replica.md).

    Args:
        partition: any of those that are assigned to ``member``.
    """

    def __init__(self, member: GroupMember, ids: StageTransactionalIds, partition: TopicPartition) -> None:
        self._member = member
        self._ids = ids
        self._partition = partition
        self._accepted_by: int | None = None

    def accepted(self, broker: int | None) -> None:
        """Note the broker that has accepted an offset of the member; None if there was none."""
        if broker is not None:
            self._accepted_by = broker

    async def find(self, connection: BrokerConnection, left_open: LeftOpenTransactions) -> int:
        """The coordinator's id. If another broker than the known one may be it, an offset is sent in a transaction, and aborted.

        While that transaction may be open, ``left_open`` has it.

        Raises:
            Exception: as ``TransactionalProducer.start`` and ``find_coordinator``.
        """
        if self._accepted_by is None or self._accepted_by != await connection.coordinator(GROUP, self._member.group):
            # A producer of its own: that of a stage ends with its first abort (docs/decisions/0026-missing-commit-markers.md).
            producer = TransactionalProducer(
                connection, self._ids.next_for(self._member), offset_metadata=NOT_TO_COMMIT
            )
            left_open.add(producer.transactional_id)
            try:
                await producer.start()
                self._accepted_by = await producer.find_coordinator(self._partition, self._member)
            finally:
                await close_quietly(producer.abort())
            left_open.remove(producer.transactional_id)
        return self._accepted_by
