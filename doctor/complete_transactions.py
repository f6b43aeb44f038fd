"""Writes commit markers that a broker has left out, where a service was not allowed to, or no replica of it runs."""

from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import ClusterAuthorizationFailedError

from doctor.cluster_facts import OpenTransaction
from doctor.collect_cluster import partitions_to_watch
from doctor.collect_transactions import collect_open_transactions
from doctor.own_transactions import is_own
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.kafka_requests.list_transactions import COMPLETE_COMMIT
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.missing_markers import describe_transaction, open_producers, write_commit_marker


@dataclass(frozen=True)
class Outcome:
    """A transaction that hung; ``reason`` says why nothing was done about it."""

    found: OpenTransaction
    reason: str | None = None


async def commit_hanging_transactions(kafka: Kafka, prefix: str) -> list[Outcome]:
    """Commit each transaction of the pipeline that hangs although its coordinator has committed it.

    Only the pipeline's own transactions are completed: see ``is_own``.

    Raises:
        PipelineError: this client is not allowed to do that, or a broker does not answer.
        KafkaError, OSError: the cluster does not answer.
    """
    partitions = await partitions_to_watch(kafka, prefix)
    connection = await BrokerConnection.open(kafka, list(partitions))
    try:
        seen = await collect_open_transactions(kafka, connection, partitions)
        if seen.denied:
            raise PipelineError(
                "transactions are open, and this client is not allowed to list their producers",
                advice="it needs READ on the topics and DESCRIBE on the transactional ids",
            )
        if seen.failure:
            raise PipelineError(
                f"transactions are open, and their producers could not be listed: {seen.failure}",
                advice="run it again when all brokers are up",
            )
        return [await _complete(connection, prefix, each) for each in seen.found if each.hangs]
    finally:
        await connection.close()


async def _complete(connection: BrokerConnection, prefix: str, found: OpenTransaction) -> Outcome:
    if found.transactional_id is None or found.state != COMPLETE_COMMIT:
        return Outcome(found, "its coordinator does not say that it was committed")
    if not is_own(found.transactional_id, prefix):
        return Outcome(found, "it is no transaction of this pipeline")
    partition = TopicPartition(found.topic, found.partition)
    leader = await connection.leader(partition)
    described = await describe_transaction(connection, found.transactional_id)
    # After the coordinator's answer: what is open since before it is then no later transaction.
    for each in (await open_producers(connection, {partition: leader}))[partition]:
        if (each.producer_id, each.start_offset) == (found.producer_id, found.start_offset):
            if described is None or not described.is_complete_commit_of(each):
                return Outcome(found, "its coordinator has begun another transaction meanwhile")
            try:
                await write_commit_marker(connection, leader, partition, each)
            except ClusterAuthorizationFailedError as error:
                raise PipelineError(
                    "this client is not allowed to write transaction markers", advice=str(error)
                ) from error
            return Outcome(found)
    return Outcome(found, "it has ended meanwhile")
