"""Ends the transactions that former members of a stage's group have left open.

Such a transaction cannot be committed any more, since its offsets have an outdated generation (KIP-447). But until it is
ended, readers of committed records and offsets wait. The coordinator would end it, too, but only after its timeout.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import TopicPartition

from libs.runtime.errors import PipelineError
from libs.runtime.kafka_requests.list_transactions import COMPLETE_COMMIT, UNDECIDED, ListTransactions
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.missing_markers import (
    DescribedTransaction,
    describe_transaction,
    leaders_of,
    open_producers,
    write_commit_marker,
)
from libs.runtime.transactions.producer import all_of, init_producer_id
from libs.runtime.transactions.transactional_ids import StageTransactionalIds

log = structlog.get_logger()

_LONGEST_S = 5.0


class TransactionTargets(NamedTuple):
    """Where a stage's transactions write: its output partitions, and the offsets of its group."""

    outputs: Collection[TopicPartition]
    group: str


async def end_former_transactions(
    connection: BrokerConnection,
    ids: StageTransactionalIds,
    generation: int,
    targets: TransactionTargets,
    known: dict[str, DescribedTransaction] | None = None,
) -> None:
    """End the open transactions of members of generations before ``generation``, within a time limit.

    Errors are logged and ignored: an open transaction also ends by its timeout. For ``known`` see ``end_transaction``.
    """
    try:
        async with asyncio.timeout(_LONGEST_S):
            listed = await all_of(*(_listed(connection, broker) for broker in connection.brokers()))
            former = [
                each for of_broker in listed for each in of_broker if ids.is_before(each.transactional_id, generation)
            ]
            complete = {each.producer_id: each.transactional_id for each in former if each.state == COMPLETE_COMMIT}
            undecided = [each.transactional_id for each in former if each.state != COMPLETE_COMMIT]
            left_open = undecided + await _left_open_although_complete(connection, complete, targets)
            await all_of(*(end_transaction(connection, each, targets, known) for each in left_open))
        if left_open:
            log.info("ended the open transactions of former members", transactional_ids=left_open)
    except (KafkaError, PipelineError, TimeoutError) as error:
        log.warning("open transactions of former members are left to their timeout", error=repr(error))


async def _left_open_although_complete(
    connection: BrokerConnection, complete: Mapping[int, str], targets: TransactionTargets
) -> list[str]:
    """The transactional ids of those producers in ``complete`` that still have an open transaction in a partition."""
    if not complete:
        return []
    with suppress(TopicAuthorizationFailedError, IncompatibleBrokerVersion):
        leaders = await leaders_of(connection, targets.outputs, targets.group)
        found = (await open_producers(connection, leaders)).values()
        return [
            *{complete[each.producer_id] for producers in found for each in producers if each.producer_id in complete}
        ]
    return []


async def end_transaction(
    connection: BrokerConnection,
    transactional_id: str,
    targets: TransactionTargets,
    known: dict[str, DescribedTransaction] | None = None,
) -> None:
    """Wait until the transaction of ``transactional_id``, if there is one, is aborted, or completed if its commit had begun.

    Commit markers that the broker has left out are written if this client is allowed to. If it is not allowed to look for them,
    the coordinator keeps what it knows of the commit, for `pipeline complete-transactions`.

    The coordinator forgets a commit with the first step of this. ``known`` keeps those of calls that fail, for the next call.
    """
    known = {} if known is None else known
    committed = known.get(transactional_id) or await _committed(connection, transactional_id)
    if committed is None:
        await init_producer_id(connection, transactional_id)
        return
    leaders = await leaders_of(connection, targets.outputs, targets.group)
    try:
        await open_producers(connection, leaders)
    except (TopicAuthorizationFailedError, IncompatibleBrokerVersion):
        return
    known[transactional_id] = committed
    await init_producer_id(connection, transactional_id)  # from here on its producer begins no other transaction
    await _write_missing_markers(connection, transactional_id, committed, leaders)
    del known[transactional_id]


async def _committed(connection: BrokerConnection, transactional_id: str) -> DescribedTransaction | None:
    with suppress(TransactionalIdAuthorizationFailed, IncompatibleBrokerVersion):
        described = await describe_transaction(connection, transactional_id)
        return described if described is not None and described.is_committed else None
    return None


async def _write_missing_markers(
    connection: BrokerConnection,
    transactional_id: str,
    committed: DescribedTransaction,
    leaders: Mapping[TopicPartition, int],
) -> None:
    for partition, producers in (await open_producers(connection, leaders)).items():
        for each in producers:
            if (each.producer_id, each.producer_epoch) != (committed.producer_id, committed.producer_epoch):
                continue
            where = {"partition": str(partition), "offset": each.start_offset, "transactional_id": transactional_id}
            try:
                await write_commit_marker(connection, leaders[partition], partition, each)
            except ClusterAuthorizationFailedError as error:
                log.error("the broker has left out a commit marker", **where, error=str(error))  # noqa: TRY400 - expected
            else:
                log.warning("wrote a commit marker that the broker had left out", **where)


class _Listed(NamedTuple):
    transactional_id: str
    producer_id: int
    state: str


async def _listed(connection: BrokerConnection, broker: int) -> list[_Listed]:
    answer = None
    with suppress(KafkaError, PipelineError):  # a broker that is down coordinates no transactions
        answer = await connection.send(broker, ListTransactions((*UNDECIDED, COMPLETE_COMMIT)))
    return [_Listed(*each) for *each, _ in answer.transactions] if answer else []
