"""Commit markers that a broker has left out.

A broker in ZooKeeper mode that restarts between a transaction's commit and its markers may look for the partitions' leaders
before it has the cluster's metadata. It takes a partition without a leader for deleted, writes no marker into it, and notes the
transaction as complete [Kafka 3.9: TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue]. Readers of committed records, and
of stable offsets, then wait for ever. docs/decisions/0026-missing-commit-markers.md has what is done about it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from aiokafka.errors import ClusterAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_requests.describe_producers import NO_TRANSACTION, DescribeProducers
from libs.runtime.kafka_requests.describe_transactions import DescribeTransactions
from libs.runtime.kafka_requests.list_transactions import COMPLETE_COMMIT, PREPARE_COMMIT
from libs.runtime.kafka_requests.write_txn_markers import CommitMarker
from libs.runtime.transactions.connection import GROUP, BrokerConnection
from libs.runtime.transactions.error_codes import refusal
from libs.runtime.transactions.producer import ask_until_decided

OFFSETS_TOPIC = "__consumer_offsets"
_NO_COORDINATOR_EPOCH = -1
_CLUSTER_AUTHORIZATION_FAILED = 31
_TRANSACTIONAL_ID_NOT_FOUND = 105  # aiokafka 0.14 does not have it


class DescribedTransaction(NamedTuple):
    """What a coordinator says about a transactional id: the state of its last transaction, and its producer."""

    state: str
    producer_id: int
    producer_epoch: int

    @property
    def is_committed(self) -> bool:
        return self.state in (PREPARE_COMMIT, COMPLETE_COMMIT)

    def is_complete_commit_of(self, producer: "OpenProducer") -> bool:
        return self == (COMPLETE_COMMIT, producer.producer_id, producer.producer_epoch)


class OpenProducer(NamedTuple):
    """A producer with an open transaction in a partition, as the partition's leader knows it."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    start_offset: int


async def describe_transaction(connection: BrokerConnection, transactional_id: str) -> DescribedTransaction | None:
    """The last transaction of ``transactional_id``; None if the coordinator does not know it.

    Raises:
        KafkaError: the coordinator rejects the request, or does not answer.
    """
    answer, code = await ask_until_decided(
        connection,
        transactional_id,
        DescribeTransactions([transactional_id]),
        lambda answer: answer.transaction_states[0][0],
    )
    if code == _TRANSACTIONAL_ID_NOT_FOUND:
        return None
    if code:
        raise refusal(code, "DescribeTransactions")
    [(_, _, state, _, _, producer_id, producer_epoch, *_)] = answer.transaction_states
    return DescribedTransaction(state, producer_id, producer_epoch)


async def offsets_partition(connection: BrokerConnection, group: str) -> TopicPartition | None:
    """The partition with the offsets of ``group``; None if this client is not allowed to see the topic."""
    request = MetadataRequest([OFFSETS_TOPIC], allow_auto_topic_creation=False)
    answer: Any = await connection.ask_any(request)
    [(code, _, _, partitions)] = answer.topics
    return None if code or not partitions else TopicPartition(OFFSETS_TOPIC, group_partition(group, len(partitions)))


def group_partition(group: str, partitions: int) -> int:
    """The number of the partition with the offsets of ``group`` [Kafka: GroupMetadataManager.partitionFor].

    It is taken from the absolute value of Java's ``String.hashCode``.
    """
    hashed = 0
    for character in group:
        hashed = (31 * hashed + ord(character)) & 0xFFFFFFFF
    return min(hashed, 2**32 - hashed) % partitions


async def open_producers(
    connection: BrokerConnection, leaders: Mapping[TopicPartition, int]
) -> dict[TopicPartition, list[OpenProducer]]:
    """The producers with an open transaction in each partition; ``leaders`` has the broker to ask.

    Raises:
        KafkaError: a leader rejects the request, or does not answer.
    """
    by_leader: defaultdict[int, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for (topic, number), leader in leaders.items():
        by_leader[leader][topic].append(number)
    found: dict[TopicPartition, list[OpenProducer]] = {}
    for leader, topics in by_leader.items():
        answer = await connection.send(leader, DescribeProducers(topics))
        for topic, partitions, *_ in answer.topics:
            for number, code, _message, producers, *_tags in partitions:
                if code:
                    raise refusal(code, "DescribeProducers")
                found[TopicPartition(topic, number)] = [
                    OpenProducer(producer_id, epoch, coordinator_epoch, start)
                    for producer_id, epoch, _, _, coordinator_epoch, start, *_ in producers
                    if start != NO_TRANSACTION
                ]
    return found


async def leaders_of(
    connection: BrokerConnection, partitions: Collection[TopicPartition], group: str | None = None
) -> dict[TopicPartition, int]:
    """The leaders of ``partitions``, and of the partition with the offsets of ``group`` if this client may see it."""
    leaders = {partition: await connection.leader(partition) for partition in partitions}
    if group is not None and (offsets := await offsets_partition(connection, group)):
        leaders[offsets] = await connection.coordinator(GROUP, group)
    return leaders


async def partitions_without_marker(
    connection: BrokerConnection, transactional_id: str, partitions: Collection[TopicPartition]
) -> list[TopicPartition]:
    """Those of ``partitions`` in which the last transaction of ``transactional_id`` is open although it was committed.

    Raises:
        KafkaError: a broker rejects a request, or does not answer.
    """
    leaders = await leaders_of(connection, partitions)
    before = await open_producers(connection, leaders)
    last = await describe_transaction(connection, transactional_id)
    if last is None:
        return []
    # What is open before and after the coordinator has called the transaction complete is not of a later one.
    after = await open_producers(connection, leaders)
    return [
        partition
        for partition, producers in before.items()
        if any(each in after[partition] and last.is_complete_commit_of(each) for each in producers)
    ]


async def write_commit_marker(
    connection: BrokerConnection, leader: int, partition: TopicPartition, producer: OpenProducer
) -> None:
    """Commit the producer's open transaction in ``partition``.

    Raises:
        ClusterAuthorizationFailedError: it needs ALTER on the cluster.
        KafkaError: the leader rejects the request, or does not answer.
    """
    # Without an earlier marker the partition has no coordinator epoch, and accepts any.
    epoch = 0 if producer.coordinator_epoch == _NO_COORDINATOR_EPOCH else producer.coordinator_epoch
    marker = CommitMarker(partition.topic, partition.partition, producer.producer_id, producer.producer_epoch, epoch)
    answer = await connection.send(leader, marker)
    [(_, [(_, [(_, code, *_)], *_)], *_)] = answer.markers
    if code == _CLUSTER_AUTHORIZATION_FAILED:
        raise ClusterAuthorizationFailedError("writing transaction markers needs ALTER on the cluster")
    if code:
        raise refusal(code, "WriteTxnMarkers")
