"""Transactions on a real broker: open ones are awaited, ended by a successor, and not affected by late requests."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.structs import TopicPartition

from libs.runtime.errors import BatchTooLargeError, TransactionFencedError
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.kafka_requests.txn_offset_commit import MemberOffsetCommit
from libs.runtime.transactions.connection import GROUP, TRANSACTION, BrokerConnection
from libs.runtime.transactions.error_codes import Meaning, meaning_of
from libs.runtime.transactions.open_transactions import TransactionTargets, end_former_transactions, end_transaction
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.integration.committed_offsets import CommittedOffsets
from tests.integration.pipeline import Pipeline, no_member


@pytest.fixture
async def offsets(pipeline: Pipeline) -> AsyncIterator[CommittedOffsets]:
    offsets = CommittedOffsets(pipeline.kafka, pipeline.prefix + "group")
    yield offsets
    await offsets.close()


def records(count: int = 1, value: bytes = b"{}") -> OutputBuffer:
    outputs = OutputBuffer({"processed-orders": 6})
    for _ in range(count):
        outputs.send("processed-orders", 0, None, value, int(time.time() * 1000), [])
    return outputs


def of_generation(pipeline: Pipeline, generation: int) -> GroupMember:
    return GroupMember(pipeline.prefix + "group", generation, "member")


class Writer:
    """A producer with the generation of a member; it commits without membership, so the generation need not exist."""

    def __init__(self, connection: BrokerConnection, pipeline: Pipeline, generation: int) -> None:
        self._pipeline = pipeline
        self.ids = StageTransactionalIds(pipeline.prefix, "stage")
        transactional_id = self.ids.next_for(of_generation(pipeline, generation))
        self.producer = TransactionalProducer(connection, transactional_id, pipeline.prefix)
        self.member = no_member(pipeline.prefix + "group")
        self.source = TopicPartition(pipeline.prefix + "orders", 0)
        self.written = TransactionTargets([TopicPartition(pipeline.prefix + "processed-orders", 0)], self.member.group)

    async def leave_open(self, offset: int) -> None:
        """A transaction without its end."""
        batches = {
            TopicPartition(self._pipeline.prefix + topic, partition): batches
            for (topic, partition), batches in records().batches().items()
        }
        await self.producer.add_partitions(batches)
        await self.producer.produce(batches)
        await self.producer._add_offsets(self.member.group)
        await self.producer._commit_offsets({self.source: offset}, self.member)


async def test_an_offset_in_an_open_transaction_is_awaited(
    pipeline: Pipeline, connection: BrokerConnection, offsets: CommittedOffsets
) -> None:
    writer = Writer(connection, pipeline, 1)
    await writer.producer.start()
    assert await offsets.fetch(writer.source) is None
    await writer.leave_open(41)
    fetching = asyncio.create_task(offsets.fetch(writer.source))
    done, _ = await asyncio.wait({fetching}, timeout=1)
    assert not done, "the response had an offset with a pending change"
    await writer.producer.end(commit=True)
    assert await fetching == 41


async def test_only_transactions_of_former_generations_are_ended(
    pipeline: Pipeline, connection: BrokerConnection, offsets: CommittedOffsets
) -> None:
    former, present = Writer(connection, pipeline, 4), Writer(connection, pipeline, 5)
    for writer in (former, present):
        await writer.producer.start()
    await former.leave_open(41)
    await end_former_transactions(connection, former.ids, 5, former.written)
    assert await offsets.fetch(former.source) is None
    with pytest.raises(TransactionFencedError):
        await former.producer.end(commit=True)

    await present.leave_open(42)
    await end_former_transactions(connection, former.ids, 5, former.written)
    await present.producer.end(commit=True)
    assert await offsets.fetch(former.source) == 42
    assert len(await pipeline.read("processed-orders")) == 1


async def test_late_requests_of_an_attempt_do_not_affect_later_attempts(
    pipeline: Pipeline, connection: BrokerConnection, offsets: CommittedOffsets
) -> None:
    """KAFKA-17754, without network faults: the late requests are sent explicitly, at the worst moments."""
    lost, following = Writer(connection, pipeline, 1), Writer(connection, pipeline, 1)
    following.producer.transactional_id += "-next"
    await lost.producer.start()
    await lost.leave_open(10)  # its responses are lost, and a new attempt takes over
    await end_transaction(connection, lost.producer.transactional_id, lost.written)
    await following.producer.start()
    await following.leave_open(20)

    who = (lost.producer._producer_id, lost.producer._epoch)
    late_offsets = MemberOffsetCommit(lost.producer.transactional_id, who, lost.member, {lost.source: 10})
    answer = await connection.ask_coordinator(GROUP, lost.member.group, late_offsets)
    assert {meaning_of(code) for _, partitions, _ in answer.topics for _, code, _ in partitions} == {Meaning.FENCED}
    for commit in (True, False):
        late_end = EndTxnRequest(lost.producer.transactional_id, *who, commit)
        answer = await connection.ask_coordinator(TRANSACTION, lost.producer.transactional_id, late_end)
        assert meaning_of(answer.error_code) is Meaning.FENCED

    await following.producer.end(commit=True)
    assert await offsets.fetch(lost.source) == 20
    assert len(await pipeline.read("processed-orders")) == 1


async def test_many_transactions_of_one_producer_with_batches_of_all_sizes(
    pipeline: Pipeline, connection: BrokerConnection, offsets: CommittedOffsets
) -> None:
    writer = Writer(connection, pipeline, 1)
    await writer.producer.start()
    for number, count in enumerate([1, 5_000, 1, 20_000, 0], 1):
        await writer.producer.commit(records(count, b"x" * 100), {writer.source: number}, writer.member)
    assert await offsets.fetch(writer.source) == 5
    assert len(await pipeline.read("processed-orders")) == 25_002


async def test_a_record_that_the_topic_rejects_is_reported(pipeline: Pipeline, connection: BrokerConnection) -> None:
    writer = Writer(connection, pipeline, 1)
    await writer.producer.start()
    with pytest.raises(BatchTooLargeError, match="processed-orders"):
        await writer.producer.commit(records(1, b"x" * 3_000_000), {writer.source: 1}, writer.member)
    await writer.producer.abort()
    assert await pipeline.read("processed-orders") == []


async def test_clients_can_be_discarded_without_a_broker(kafka: str) -> None:
    """`libs.runtime.kafka_client.closing` needs these attributes when `stop()` hangs; another version of aiokafka may have other names."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    assert asyncio.iscoroutinefunction(producer._sender.close)
    assert asyncio.iscoroutinefunction(producer.client.close)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    assert asyncio.iscoroutinefunction(consumer._client.close)
    await consumer.stop()
