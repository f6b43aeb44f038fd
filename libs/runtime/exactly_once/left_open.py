"""Ends the transactions that failed attempts and former members have left open."""

import asyncio
from collections.abc import Iterable

from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.timing import COMMIT_TIMEOUT_S
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.missing_markers import DescribedTransaction
from libs.runtime.transactions.open_transactions import TransactionTargets, end_former_transactions, end_transaction
from libs.runtime.transactions.transactional_ids import StageTransactionalIds


class LeftOpenTransactions:
    """The transactions that an attempt has to end before it reads the committed offsets.

    Args:
        ids: the stage's transactional ids.
        member: this replica's membership; former members have lower generations.
        outputs: the partitions that the stage's transactions may have written to.
    """

    def __init__(self, ids: StageTransactionalIds, member: GroupMember, outputs: Iterable[TopicPartition]) -> None:
        self._ids = ids
        self._member = member
        self._targets = TransactionTargets(list(outputs), member.group)
        self._known_commits: dict[str, DescribedTransaction] = {}
        self._looked_for_former = False
        self._left_open: list[str] = []  # transactional ids of failed attempts, and of former members' known commits

    def add(self, transactional_id: str) -> None:
        """An attempt begins, which may leave a transaction open."""
        self._left_open.append(transactional_id)

    def remove(self, transactional_id: str) -> None:
        """It has ended its transaction."""
        self._left_open.remove(transactional_id)

    async def end(self, connection: BrokerConnection) -> bool:
        """End the transactions of former members, and after a failure those of this worker's own former attempts.

        Returns:
            Whether every broker was asked for those of former members. A commit marker that is missing has no timeout, so this is to be
            called again otherwise.
        """
        if not self._looked_for_former:
            self._looked_for_former = await end_former_transactions(
                connection, self._ids, self._member.generation, self._targets, self._known_commits
            )
            self._left_open += [each for each in self._known_commits if each not in self._left_open]
        for transactional_id in list(self._left_open):
            # The brokers may have got other addresses: the next attempt asks the bootstrap servers.
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await end_transaction(connection, transactional_id, self._targets, self._known_commits)
            self.remove(transactional_id)
        return self._looked_for_former
