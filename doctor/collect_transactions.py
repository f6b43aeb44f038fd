"""Finds transactions that stay open, and their producers.

Readers of committed records stop at the first open transaction. One that stays open for seconds was left by a producer that
crashed, or it hangs: the partition has it and no coordinator knows it (KIP-664).
"""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from doctor.cluster_facts import OpenTransaction
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_requests.describe_producers import NO_TRANSACTION, DescribeProducers
from libs.runtime.kafka_requests.list_transactions import ListTransactions
from libs.runtime.transactions.connection import BrokerConnection

_UNDECIDED = ("Ongoing", "PrepareCommit", "PrepareAbort")

Partitions = Mapping[str, Collection[int]]
"""By topic."""


def held_up(
    before: Mapping[TopicPartition, tuple[int, int]], after: Mapping[TopicPartition, tuple[int, int]]
) -> dict[TopicPartition, int]:
    """The partitions whose last stable offset has not moved although records follow it, with that offset.

    Both arguments have (last stable offset, end offset) for each partition.
    """
    return {each: stable for each, (stable, end) in before.items() if after[each][0] == stable < end}


async def collect_open_transactions(
    kafka: Kafka, connection: BrokerConnection, partitions: Partitions, watch_s: float
) -> tuple[tuple[OpenTransaction, ...], bool]:
    """The transactions open for at least ``watch_s``, and whether this client is not allowed to learn their producers."""
    watched = [TopicPartition(topic, number) for topic, numbers in partitions.items() for number in numbers]
    if not watched:
        return (), False
    committed, all_records = (
        AIOKafkaConsumer(**client_arguments(kafka), enable_auto_commit=False, isolation_level=level)
        for level in ("read_committed", "read_uncommitted")
    )
    try:
        await committed.start()
        await all_records.start()

        async def look() -> dict[TopicPartition, tuple[int, int]]:
            # The ends first: a record that arrives in between must not look blocked.
            ends = await all_records.end_offsets(watched)
            stable = await committed.end_offsets(watched)
            return {each: (stable[each], ends[each]) for each in watched}

        before = await look()
        await asyncio.sleep(watch_s)
        stuck = held_up(before, await look())
    finally:
        await committed.stop()
        await all_records.stop()
    if not stuck:
        return (), False
    try:
        return tuple(await _whose(connection, stuck)), False
    except (KafkaError, PipelineError):  # the broker is too old, or this client has no right to ask
        return tuple(OpenTransaction(each.topic, each.partition, None, None, None) for each in stuck), True


async def _whose(connection: BrokerConnection, stuck: Mapping[TopicPartition, int]) -> list[OpenTransaction]:
    ids = await _transactional_ids(connection)
    found = []
    for partition, stable in stuck.items():
        owners = await _open_producers(connection, partition)
        # Transactions that begin later do not block readers: the pipeline is at work.
        found += [
            OpenTransaction(partition.topic, partition.partition, start, producer, ids.get(producer))
            for producer, start in owners.items()
            if start <= stable
        ] or [OpenTransaction(partition.topic, partition.partition, None, None, None)]
    return found


async def _open_producers(connection: BrokerConnection, partition: TopicPartition) -> dict[int, int]:
    """Producer ids with an open transaction in ``partition``, and its first offset."""
    leader = await connection.leader(partition)
    answer = await connection.send(leader, DescribeProducers({partition.topic: [partition.partition]}))
    (((_, ((_, code, message, producers, *_),), *_),),) = (answer.topics,)
    if code:
        raise PipelineError(f"{partition.topic}: {message}")
    return {producer_id: start for producer_id, _, _, _, _, start, *_ in producers if start != NO_TRANSACTION}


async def _transactional_ids(connection: BrokerConnection) -> dict[int, str]:
    """The transactional ids of open transactions that the coordinators know, by producer id."""
    found: dict[int, str] = {}
    for broker in connection.brokers():
        answer = await connection.send(broker, ListTransactions(_UNDECIDED))
        found |= {producer_id: transactional_id for transactional_id, producer_id, *_ in answer.transactions}
    return found
