"""A replica that is no longer a group member commits nothing, and does not disturb its successor."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from libs.runtime.errors import NotAMemberError
from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.group_member import GroupMember, current_member
from libs.runtime.metrics import totals
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.integration.committed_offsets import CommittedOffsets
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually

Join = Callable[[], Awaitable[GroupMember]]


@pytest.fixture
async def join(pipeline: Pipeline) -> AsyncIterator[Join]:
    """Let another consumer join; returns its membership once all partitions are reassigned."""
    consumers: list[AIOKafkaConsumer] = []

    async def joined() -> GroupMember:
        consumer = AIOKafkaConsumer(**consumer_arguments(pipeline.settings(), "members"))
        consumers.append(consumer)
        await consumer.start()
        consumer.subscribe([pipeline.prefix + "orders"])
        await eventually(lambda: bool(consumer.assignment()))
        return current_member(consumer, pipeline.prefix + "members")

    yield joined
    for consumer in consumers:
        await consumer.stop()


def one_record() -> OutputBuffer:
    outputs = OutputBuffer({"processed-orders": 6})
    outputs.send("processed-orders", 0, None, b"", int(time.time() * 1000), [])
    return outputs


async def started(connection: BrokerConnection, pipeline: Pipeline, member: GroupMember) -> TransactionalProducer:
    transactional_id = StageTransactionalIds(pipeline.prefix, "members").next_for(member)
    producer = TransactionalProducer(connection, transactional_id, pipeline.prefix)
    await producer.start()
    return producer


async def test_commits_of_a_former_member_are_rejected_and_do_not_change_the_offset(
    pipeline: Pipeline, join: Join, connection: BrokerConnection
) -> None:
    """Kafka 3.9 drops the pending offsets of a producer id when it rejects an offset of that id, so the ids must differ."""
    source = TopicPartition(pipeline.prefix + "orders", 0)
    former = await join()
    former_producer = await started(connection, pipeline, former)
    await former_producer.commit(one_record(), {source: 100}, former)

    now = await join()
    assert (now.generation, now.member_id) != (former.generation, former.member_id)
    successor = await started(connection, pipeline, now)
    await successor._add_offsets(now.group)
    await successor._commit_offsets({source: 200}, now)
    with pytest.raises(NotAMemberError):
        await former_producer.commit(one_record(), {source: 150}, former)
    await former_producer.abort()
    await successor.end(commit=True)

    offsets = CommittedOffsets(pipeline.kafka, former.group)
    assert await offsets.fetch(source) == 200
    await offsets.close()
    assert len(await pipeline.read("processed-orders")) == 1


async def test_a_worker_of_a_former_member_processes_nothing(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    await pipeline.send([(0, [b"{}"])])
    async with pipeline.single_worker(0, GroupMember(f"{pipeline.prefix}processor", 7, "nobody")) as worker:
        await eventually(lambda: "retries_fenced" in totals(worker.registry))
        assert await worker.committed.fetch(worker.source) is None
        assert totals(worker.registry).keys() == {"retries_fenced"}
        assert await pipeline.read("orders-dlq") == []
