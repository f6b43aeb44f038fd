"""Ends the transactions that former members of a stage's group have left open.

Such a transaction cannot be committed any more, since its offsets have an outdated generation (KIP-447). But until it is
ended, readers of committed records and offsets wait. The coordinator would end it, too, but only after its timeout.
"""

import asyncio
from contextlib import suppress

import structlog
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError

from libs.runtime.errors import PipelineError
from libs.runtime.kafka_requests.list_transactions import ListTransactions
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import all_of, init_producer_id
from libs.runtime.transactions.transactional_ids import StageTransactionalIds

log = structlog.get_logger()

_UNDECIDED = ("Ongoing", "PrepareCommit", "PrepareAbort")
_LONGEST_S = 5.0


async def end_former_transactions(connection: BrokerConnection, ids: StageTransactionalIds, generation: int) -> None:
    """End the open transactions of members of generations before ``generation``, within a time limit.

    This only saves time, so errors are logged and ignored.
    """
    try:
        async with asyncio.timeout(_LONGEST_S):
            listed = await all_of(*(_undecided(connection, broker) for broker in connection.brokers()))
            former = [each for of_broker in listed for each in of_broker if ids.is_before(each, generation)]
            await all_of(*(end_transaction(connection, each) for each in former))
        if former:
            log.info("ended the open transactions of former members", transactional_ids=former)
    except (KafkaError, PipelineError, TimeoutError) as error:
        log.warning("open transactions of former members are left to their timeout", error=repr(error))


async def end_transaction(connection: BrokerConnection, transactional_id: str) -> None:
    """Wait until the transaction of ``transactional_id``, if there is one, is aborted, or completed if its commit had begun."""
    await init_producer_id(connection, transactional_id)


async def _undecided(connection: BrokerConnection, broker: int) -> list[str]:
    answer = None
    with suppress(KafkaError, PipelineError):  # a broker that is down coordinates no transactions
        answer = await connection.send(broker, ListTransactions(_UNDECIDED), ConnectionGroup.DEFAULT)
    return [transactional_id for transactional_id, *_ in answer.transactions] if answer else []
