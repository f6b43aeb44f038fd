"""Ends the transactions that former members of a stage's group have left open.

Such a transaction cannot be committed any more, since its offsets have an outdated generation (KIP-447). But until it is
ended, readers of committed records and offsets wait. The coordinator would end it, too, but only after its timeout.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
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
_ONE_BROKER_ANSWERS_WITHIN_S = 2.0
_LOAD_PAUSE_S = 0.1


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
) -> bool:
    """End the open transactions of members of generations before ``generation``, within a time limit.

    Errors are logged, and none keeps the other transactions from being ended: an open transaction also ends by its timeout. For
    ``known`` see ``end_transaction``.

    Returns:
        Whether every broker was asked, and all of these transactions have ended. Otherwise it is to be called again: a commit
        marker that is missing has no timeout.
    """
    ended: list[str] = []
    errors: list[Exception] = []

    async def end(transactional_id: str) -> None:
        with _noted(errors):
            await end_transaction(connection, transactional_id, targets, known)
            ended.append(transactional_id)

    async def end_left_open(complete: Mapping[int, str]) -> None:
        with _noted(errors):
            left_open = await _left_open_although_complete(connection, complete, targets)
            await all_of(*(end(each) for each in left_open))

    with _noted(errors):
        async with asyncio.timeout(_LONGEST_S):
            listed: list[_Listed] = []
            # One after the other: aiokafka makes one connection at a time, so all would wait for an unreachable broker.
            for broker in connection.brokers():
                with _noted(errors):
                    listed += await _listed(connection, broker)
            former = [each for each in listed if ids.is_before(each.transactional_id, generation)]
            complete = {each.producer_id: each.transactional_id for each in former if each.state == COMPLETE_COMMIT}
            undecided = [each.transactional_id for each in former if each.state != COMPLETE_COMMIT]
            await all_of(*(end(each) for each in undecided), end_left_open(complete))
    if ended:
        log.info("ended the open transactions of former members", transactional_ids=ended)
    if errors:
        log.warning(
            "open transactions of former members may be left to their timeout, or to the next attempt",
            errors=[repr(error) for error in errors],
        )
    return not errors


@contextmanager
def _noted(errors: list[Exception]) -> Iterator[None]:
    try:
        yield
    except (KafkaError, PipelineError, TimeoutError) as error:
        errors.append(error)


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

    The first step makes the coordinator forget a commit. ``known`` keeps the commits of calls that fail, for the next call.
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
    async with asyncio.timeout(_ONE_BROKER_ANSWERS_WITHIN_S):
        request = ListTransactions((*UNDECIDED, COMPLETE_COMMIT))
        try:
            while (answer := await connection.send(broker, request)).error_code:  # noqa: ASYNC110 - none listed until all are loaded
                await asyncio.sleep(_LOAD_PAUSE_S)
        except IncompatibleBrokerVersion:
            return []  # before Kafka 3.0: they are left to their timeout, and no later attempt finds more
    return [_Listed(*each) for *each, _ in answer.transactions]
