"""Our own OffsetFetch, and what else hangs on the inside of the pinned aiokafka."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from libs.runtime.settings import ServiceSettings
from libs.runtime.stable_offsets import StableOffsets
from libs.runtime.transaction import TransactionalProducer
from tests.integration.pipeline import Pipeline, no_member


async def test_an_offset_in_an_open_transaction_is_waited_for(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    await Pipeline(kafka, topic_prefix, tmp_path).make_topics()
    source = TopicPartition(f"{topic_prefix}orders", 0)
    offsets = StableOffsets(kafka, f"{topic_prefix}group")
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}t")
    await producer.start()
    try:
        assert await offsets.fetch(source) is None
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({source: 41}, f"{topic_prefix}group")
        fetching = asyncio.create_task(offsets.fetch(source))
        done, _ = await asyncio.wait({fetching}, timeout=1)
        assert not done, "answered with an offset that was about to change"
        await producer.commit_transaction()
        assert await fetching == 41
    finally:
        await producer.stop()
        await offsets.close()


async def test_a_new_producer_ends_what_the_one_before_left_open(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    await Pipeline(kafka, topic_prefix, tmp_path).make_topics()
    source = TopicPartition(f"{topic_prefix}orders", 0)
    group = f"{topic_prefix}group"
    settings = ServiceSettings(kafka_bootstrap_servers=kafka, topic_prefix=topic_prefix)
    zombie = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}t")
    await zombie.start()
    await zombie.begin_transaction()
    await zombie.send_offsets_to_transaction({source: 41}, group)
    successor = TransactionalProducer(settings, f"{topic_prefix}t", no_member(group), {"processed-orders": 6})
    offsets = StableOffsets(kafka, group)
    await successor.start()
    try:
        assert await offsets.fetch(source) is None
        with pytest.raises(Exception, match=r"(?i)epoch|fenced"):
            await zombie.commit_transaction()
    finally:
        await zombie.stop()
        await successor.close()
        await offsets.close()


async def test_clients_can_be_given_up_without_a_broker(kafka: str) -> None:
    """`libs.runtime.closing` needs these when `stop()` hangs; a new aiokafka may name them otherwise."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    assert asyncio.iscoroutinefunction(producer._sender.close)
    assert asyncio.iscoroutinefunction(producer.client.close)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    assert asyncio.iscoroutinefunction(consumer._client.close)
    await consumer.stop()
