"""Whoever has lost its place in the group commits nothing, and takes nothing away from who has it now."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from libs.runtime.broker import committed_consumer
from libs.runtime.errors import NotAMemberError
from libs.runtime.member_offsets import GroupMember, commit_offsets_as, current_member
from libs.runtime.metrics import totals
from libs.runtime.stable_offsets import StableOffsets
from libs.runtime.timing import FENCED_WAIT_S
from libs.runtime.transaction import transactional_client
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually

Join = Callable[[], Awaitable[GroupMember]]
Start = Callable[[GroupMember], Awaitable[AIOKafkaProducer]]


@pytest.fixture
async def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    return pipeline


@pytest.fixture
async def join(pipeline: Pipeline) -> AsyncIterator[Join]:
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
async def start(pipeline: Pipeline) -> AsyncIterator[Start]:
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
    asleep, awake = pause_before_offsets(zombie)
    sending = asyncio.create_task(zombie.send_offsets_to_transaction({source: 150}, former.group))
    await asleep.wait()

    successor = await start(await join())
    await successor.begin_transaction()
    await successor.send_and_wait(output, b"")
    await successor.send_offsets_to_transaction({source: 200}, former.group)
    awake.set()
    with pytest.raises(NotAMemberError):
        await sending
    await successor.commit_transaction()

    offsets = StableOffsets(pipeline.kafka, former.group)
    assert await offsets.fetch(source) == 200
    await offsets.close()


def pause_before_offsets(producer: AIOKafkaProducer) -> tuple[asyncio.Event, asyncio.Event]:
    """Pause between AddOffsetsToTxn and TxnOffsetCommit; the first event tells that it does, the second ends it."""
    sender: Any = producer._sender
    commit, asleep, awake = sender._do_txn_offset_commit, asyncio.Event(), asyncio.Event()

    async def paused(*arguments: object) -> None:
        asleep.set()
        await awake.wait()
        await commit(*arguments)

    sender._do_txn_offset_commit = paused
    return asleep, awake


async def test_a_former_member_is_fenced_before_anybody_has_taken_over_and_can_end_its_transaction(
    pipeline: Pipeline, join: Join, start: Start
) -> None:
    source, output = TopicPartition(pipeline.prefix + "orders", 0), pipeline.prefix + "processed-orders"
    former = await join()
    producer = await start(former)
    now = await join()
    assert (now.generation, now.member_id) != (former.generation, former.member_id)
    await producer.begin_transaction()
    await producer.send_and_wait(output, b"")
    with pytest.raises(NotAMemberError, match=former.member_id):
        await producer.send_offsets_to_transaction({source: 150}, former.group)
    await producer.abort_transaction()
    assert await pipeline.read("processed-orders") == []


async def test_a_worker_commits_as_its_member_and_does_not_try_again_when_that_is_none(pipeline: Pipeline) -> None:
    await pipeline.send([(0, [b"{}"])])
    async with pipeline.lone_worker(0, GroupMember(f"{pipeline.prefix}processor", 7, "nobody")) as lone:
        await eventually(lambda: "transactions_fenced" in totals(lone.registry))
        await asyncio.sleep(2 * FENCED_WAIT_S)
        assert await lone.committed.fetch(lone.source) is None
        assert totals(lone.registry).keys() == {"transactions_fenced", "retries_fenced"}
        assert await pipeline.read("orders-dlq") == []
