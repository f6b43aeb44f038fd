"""Writes commit markers that a broker has left out.

A broker in ZooKeeper mode that restarts between a transaction's commit and its markers may look for the partitions' leaders
before it has the cluster's metadata. It takes a partition without a leader for deleted, writes no marker into it, and notes the
transaction as complete [Kafka 3.9: TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue]. Readers of committed records then
wait for ever.
"""

from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from doctor.cluster import STAGES
from doctor.cluster_facts import COMMITTED, OpenTransaction
from doctor.collect_cluster import partitions_to_watch
from doctor.collect_transactions import OpenProducer, collect_open_transactions, open_producers
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.kafka_requests.describe_transactions import DescribeTransactions
from libs.runtime.kafka_requests.write_txn_markers import CommitMarker
from libs.runtime.transactions.connection import TRANSACTION, BrokerConnection
from libs.runtime.transactions.error_codes import refusal
from libs.runtime.transactions.transactional_ids import StageTransactionalIds

_NO_COORDINATOR_EPOCH = -1
_CLUSTER_AUTHORIZATION_FAILED = 31


@dataclass(frozen=True)
class Outcome:
    """A transaction that hung; ``reason`` says why nothing was done about it."""

    found: OpenTransaction
    reason: str | None = None


async def commit_hanging_transactions(kafka: Kafka, prefix: str, watch_s: float = 5.0) -> list[Outcome]:
    """Commit each transaction of the pipeline that hangs although its coordinator has committed it.

    Only transactions of the stages are completed. Each of their producers ends with its first aborted transaction. So if the
    last one was committed, all of them were. Another producer's last transaction does not show how an earlier one ended.

    Raises:
        PipelineError: this client is not allowed to do that.
        KafkaError, OSError: the cluster does not answer.
    """
    partitions = await partitions_to_watch(kafka, prefix)
    connection = await BrokerConnection.open(kafka, list(partitions))
    try:
        found, denied = await collect_open_transactions(kafka, connection, partitions, watch_s)
        if denied:
            raise PipelineError(
                "transactions are open, and this client is not allowed to list their producers",
                advice="it needs READ on the topics and DESCRIBE on the transactional ids",
            )
        return [await _complete(connection, prefix, each) for each in found if each.hangs]
    finally:
        await connection.close()


async def _complete(connection: BrokerConnection, prefix: str, found: OpenTransaction) -> Outcome:
    if found.transactional_id is None or found.state != COMMITTED:
        return Outcome(found, "its coordinator does not say that it was committed")
    if not any(StageTransactionalIds(prefix, stage).owns(found.transactional_id) for stage in STAGES):
        return Outcome(found, "it is no transaction of the processor or the analytics")
    partition = TopicPartition(found.topic, found.partition)
    producers = [each for each in await open_producers(connection, partition) if each.producer_id == found.producer_id]
    if not producers:
        return Outcome(found, "it has ended meanwhile")
    [producer] = producers
    # After the check of the partition: the coordinator's answer is then about a transaction that cannot end by itself.
    if not await _is_committed(connection, found.transactional_id, producer):
        return Outcome(found, "its coordinator has begun another transaction meanwhile")
    await _write_marker(connection, partition, producer)
    return Outcome(found)


async def _is_committed(connection: BrokerConnection, transactional_id: str, producer: OpenProducer) -> bool:
    request = DescribeTransactions([transactional_id])
    answer = await connection.ask_coordinator(TRANSACTION, transactional_id, request)
    [(code, _, state, _, _, producer_id, producer_epoch, *_)] = answer.transaction_states
    if code:
        raise refusal(code, "DescribeTransactions")
    known = (state, producer_id, producer_epoch)
    return bool(known == (COMMITTED, producer.producer_id, producer.producer_epoch))


async def _write_marker(connection: BrokerConnection, partition: TopicPartition, producer: OpenProducer) -> None:
    # Without an earlier marker the partition has no coordinator epoch, and accepts any.
    epoch = 0 if producer.coordinator_epoch == _NO_COORDINATOR_EPOCH else producer.coordinator_epoch
    marker = CommitMarker(partition.topic, partition.partition, producer.producer_id, producer.producer_epoch, epoch)
    answer: Any = await connection.send(await connection.leader(partition), marker)
    [(_, [(_, [(_, code, *_)], *_)], *_)] = answer.markers
    if code == _CLUSTER_AUTHORIZATION_FAILED:
        raise PipelineError(
            "this client is not allowed to write transaction markers", advice="it needs ALTER on the cluster"
        )
    if code:
        raise refusal(code, "WriteTxnMarkers")
