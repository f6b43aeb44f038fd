"""Finds transactions that stay open, and their producers.

Readers of committed records stop at the first open transaction. One that stays open for seconds was left by a producer that
crashed, or it hangs (KIP-664): the partition has it, but the coordinator does not know it, or has noted it as complete.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, UnsupportedVersionError

from doctor.cluster_facts import OpenTransaction
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_client.clients import AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_requests.list_transactions import (
    COMPLETE_ABORT,
    COMPLETE_COMMIT,
    UNDECIDED,
    ListTransactions,
)
from libs.runtime.rights.denials import DENIALS
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.error_codes import refusal
from libs.runtime.transactions.missing_markers import open_producers

WATCH_S = 5.0
"""How long clock and transactions are watched."""

Partitions = Mapping[str, Collection[int]]
"""By topic."""


@dataclass(frozen=True)
class OpenTransactions:
    """``denied``: this client is not allowed to list the producers of some, or a broker is too old for that.

    ``failure``: why a broker did not list producers or transactions otherwise.
    """

    found: tuple[OpenTransaction, ...] = ()
    denied: bool = False
    failure: str | None = None


def held_up(
    before: Mapping[TopicPartition, tuple[int, int]], after: Mapping[TopicPartition, tuple[int, int]]
) -> dict[TopicPartition, int]:
    """The partitions whose last stable offset has not moved although records follow it, with that offset.

    Both arguments have (last stable offset, end offset) for each partition.
    """
    return {each: stable for each, (stable, end) in before.items() if after[each][0] == stable < end}


async def collect_open_transactions(
    kafka: Kafka, connection: BrokerConnection, partitions: Partitions
) -> OpenTransactions:
    """The transactions open for at least ``WATCH_S``.

    Raises:
        KafkaError, OSError, PipelineError: the partitions' offsets cannot be read, as without a leader.
    """
    watched = [TopicPartition(topic, number) for topic, numbers in partitions.items() for number in numbers]
    if not watched:
        return OpenTransactions()
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
        await asyncio.sleep(WATCH_S)
        stuck = held_up(before, await look())
    finally:
        await committed.stop()
        await all_records.stop()
    return await _whose(connection, stuck) if stuck else OpenTransactions()


async def _whose(connection: BrokerConnection, stuck: Mapping[TopicPartition, int]) -> OpenTransactions:
    found, denied, failure = [], False, None
    known, unlisted = await _known_transactions(connection)
    for partition, stable in stuck.items():
        blocking = []
        try:
            # Transactions that begin later do not block readers: the pipeline is at work.
            open_ones = await open_producers(connection, {partition: await connection.leader(partition)})
            blocking = [each for each in open_ones[partition] if each.start_offset <= stable]
        except (*DENIALS, IncompatibleBrokerVersion, UnsupportedVersionError):
            denied = True
        except (KafkaError, PipelineError) as error:
            failure = described(error)
        # Without the answers of all coordinators, a transaction would look like one that none knows.
        named = [each for each in blocking if unlisted is None or each.producer_id in known]
        if len(named) < len(blocking):
            failure = unlisted
        found += [
            OpenTransaction(*partition, each.start_offset, each.producer_id, *known.get(each.producer_id, (None, None)))
            for each in named
        ] or [OpenTransaction(*partition, None, None, None)]
    return OpenTransactions(tuple(found), denied, failure)


async def _known_transactions(connection: BrokerConnection) -> tuple[dict[int, tuple[str, str]], str | None]:
    """The transactional id and the state of its last transaction, by producer id; and why a broker did not list its own."""
    found: dict[int, tuple[str, str]] = {}
    failure = None
    for broker in connection.brokers():
        try:
            answer = await connection.send(broker, ListTransactions((*UNDECIDED, COMPLETE_COMMIT, COMPLETE_ABORT)))
            if answer.error_code:
                raise refusal(answer.error_code, "ListTransactions")
        except (KafkaError, PipelineError) as error:  # the broker is too old, has just gone, or loads its transactions
            failure = described(error)
            continue
        found |= {
            producer_id: (transactional_id, state) for transactional_id, producer_id, state, *_ in answer.transactions
        }
    return found, failure
