"""Whoever has lost its place in the group commits nothing, and takes nothing away from who has it now."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.runtime.broker import committed_consumer
from libs.runtime.member_offsets import GroupMember, commit_offsets_as, current_member
from libs.runtime.stable_offsets import StableOffsets
from libs.runtime.transaction import transactional_client
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually


@pytest.fixture
async def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    return pipeline


@pytest.fixture
async def join(pipeline: Pipeline) -> AsyncIterator[Callable[[], Awaitable[GroupMember]]]:
    """Lets one more consumer join; returns the member that it is once all partitions are given out anew."""
    consumers: list[AIOKafkaConsumer] = []

    async def joined() -> GroupMember:
        consumer = committed_consumer(pipeline.settings(), "members")
        consumers.append(consumer)
        await consumer.start()
        consumer.subscribe([pipeline.prefix + "orders"])
        await eventually(lambda: bool(consumer.assignment()))
        return current_member(consumer, pipeline.prefix + "members")

    yield joined
    for consumer in consumers:
        await consumer.stop()


@pytest.fixture
async def start(pipeline: Pipeline) -> AsyncIterator[Callable[[GroupMember], Awaitable[AIOKafkaProducer]]]:
    """Starts a producer that commits as the member; all that it starts have one transactional id."""
    producers: list[AIOKafkaProducer] = []

    async def started(member: GroupMember) -> AIOKafkaProducer:
        producer = transactional_client(pipeline.kafka, f"{pipeline.prefix}t")
        producers.append(producer)
        commit_offsets_as(producer, member)
        await producer.start()
        return producer

    yield started
    for producer in producers:
        await producer.stop()


Join = Callable[[], Awaitable[GroupMember]]
Start = Callable[[GroupMember], Awaitable[AIOKafkaProducer]]


async def test_a_former_member_takes_nothing_from_what_its_successor_is_about_to_commit(
    pipeline: Pipeline, join: Join, start: Start
) -> None:
    """See ``libs.runtime.member_offsets``: without the generation, Kafka 3.9 answers 100 after 200 was committed."""
    source, output = TopicPartition(pipeline.prefix + "orders", 0), pipeline.prefix + "processed-orders"
    former = await join()
    zombie = await start(former)
    async with zombie.transaction():
        await zombie.send_and_wait(output, b"")
        await zombie.send_offsets_to_transaction({source: 100}, former.group)
    await zombie.begin_transaction()
    await zombie.send_and_wait(output, b"")

    successor = await start(await join())
    await successor.begin_transaction()
    await successor.send_and_wait(output, b"")
    await successor.send_offsets_to_transaction({source: 200}, former.group)
    sender: Any = zombie._sender  # what comes after AddOffsetsToTxn, before which it had been paused
    with pytest.raises(ProducerFenced):
        await sender._do_txn_offset_commit({source: OffsetAndMetadata(150, "")}, former.group)
    await successor.commit_transaction()

    offsets = StableOffsets(pipeline.kafka, former.group)
    assert await offsets.fetch(source) == 200
    await offsets.close()


async def test_a_former_member_is_fenced_before_anybody_has_taken_over(
    pipeline: Pipeline, join: Join, start: Start
) -> None:
    source = TopicPartition(pipeline.prefix + "orders", 0)
    former = await join()
    producer = await start(former)
    now = await join()
    assert (now.generation, now.member_id) != (former.generation, former.member_id)
    await producer.begin_transaction()
    with pytest.raises(ProducerFenced, match="no member"):
        await producer.send_offsets_to_transaction({source: 150}, former.group)


async def test_a_replica_commits_as_the_member_that_it_is(pipeline: Pipeline) -> None:
    async with pipeline.service("processor") as processor:
        line = await processor.wait_for("partitions assigned")
        assert line["generation"] >= 1
