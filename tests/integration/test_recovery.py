"""Processing continues when a replica stops or crashes. The time is measured by `python -m benchmarks.scaling --only recovery`."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from libs.events.topics import ANALYTICS_STATE
from libs.runtime.exactly_once.committed_records import read_committed_records
from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.lazy_records import LazyRecordConsumer
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.topics.creation import ensure_topics
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from local.broker import LocalBroker
from tests.integration.pipeline import Pipeline, no_member
from tests.integration.services import ServiceProcess, eventually

PARTITIONS = range(6)
MARKER_BYTES = 78  # a batch with one control record
FEW_MARKERS = 75
# Partitions without orders get watermarks only, which need not be committed at once.
WITH_ORDERS = {
    "processor": set(PARTITIONS),
    "analytics": {partition_for(f"prod-{number}".encode(), len(PARTITIONS)) for number in range(1, 6)},
}


async def committed(pipeline: Pipeline, stage: str) -> dict[int, int]:
    """The stage's offsets in the partitions that have orders."""
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(pipeline.prefix + stage)
    except KafkaError:  # a new group has no coordinator for a moment
        offsets = {}
    finally:
        await admin.close()
    found = {each.partition: offset.offset for each, offset in offsets.items()}
    return {partition: found.get(partition, 0) for partition in WITH_ORDERS[stage]}


async def all_partitions_move(pipeline: Pipeline) -> None:
    """Wait until both stages have committed a new offset in every partition."""
    for stage in WITH_ORDERS:
        before = await committed(pipeline, stage)

        async def moved(stage: str = stage, before: dict[int, int] = before) -> bool:
            return all(offset > before[partition] for partition, offset in (await committed(pipeline, stage)).items())

        await eventually(moved, what=f"every partition of {stage} moves")


async def test_every_partition_is_processed_again_after_a_stop_and_after_a_crash(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="60"))
        await stack.enter_async_context(pipeline.service("sink"))
        replicas = {
            stage: [await stack.enter_async_context(pipeline.service(stage)) for _ in range(2)] for stage in WITH_ORDERS
        }
        await all_partitions_move(pipeline)
        stopped = [first for first, _ in replicas.values()]
        for replica in stopped:
            replica.terminate()
            assert await replica.wait() == 0
        await all_partitions_move(pipeline)
        for replica in stopped:
            replica.start()
            await replica.wait_for("partition started")
        await all_partitions_move(pipeline)
        for _, second in replicas.values():
            second.kill()
            await second.wait()
        await all_partitions_move(pipeline)
        generator.terminate()
        assert await generator.wait() == 0
        report = await pipeline.verify()
    assert report.late == 0


@pytest.mark.parametrize(("stage", "topic"), [("processor", "processed-orders"), ("analytics", "analytics-state")])
async def test_an_abandoned_transaction_does_not_block_readers_forever(
    pipeline: Pipeline, stage: str, topic: str
) -> None:
    await pipeline.make_topics()
    readable = AIOKafkaConsumer(**consumer_arguments(pipeline.settings(), group=None))
    written = AIOKafkaConsumer(bootstrap_servers=pipeline.kafka)
    partitions = [TopicPartition(pipeline.prefix + topic, number) for number in PARTITIONS]

    async def held_up() -> bool:
        # In this order, so that a record added in between does not look blocked.
        ends = await written.end_offsets(partitions)
        readable_ends = await readable.end_offsets(partitions)
        return any(readable_ends[partition] < end for partition, end in ends.items())

    async def released() -> bool:
        return not await held_up()

    async def crash_in_a_transaction(service: ServiceProcess) -> None:
        random = Random(topic)
        while True:
            await asyncio.sleep(random.uniform(0.02, 0.2))
            service.pause()
            await asyncio.sleep(0.2)  # a commit that the broker has accepted is completed
            if await held_up():
                service.kill()
                return
            service.resume()

    async with AsyncExitStack() as stack:
        for consumer in (readable, written):
            await consumer.start()
            stack.push_async_callback(consumer.stop)
        await stack.enter_async_context(pipeline.service("generator", GENERATOR_RATE="60"))
        for other in WITH_ORDERS.keys() - {stage}:
            await stack.enter_async_context(pipeline.service(other))
        service = await stack.enter_async_context(pipeline.service(stage))
        await service.wait_for("partition started")
        await crash_in_a_transaction(service)
        await eventually(released, what=f"the end of {topic} can be read")


async def size_bytes(pipeline: Pipeline, partition: TopicPartition) -> int:
    """What a reader of the whole partition receives, transaction markers included."""
    consumer = LazyRecordConsumer(**consumer_arguments(pipeline.settings(), group=None, fetch_max_wait_ms=20))
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            await consumer.getmany(timeout_ms=20)
        fetcher: Any = consumer._fetcher
        return int(fetcher._records.received_bytes)
    finally:
        await consumer.stop()


async def test_a_restore_reads_no_markers_of_transactions_that_were_compacted_long_ago(
    topic_prefix: str, tmp_path: Path
) -> None:
    """Each commit leaves a transaction marker; the broker keeps them for the changelog's ``delete.retention.ms``."""
    with LocalBroker(tmp_path, more_properties={"log.cleaner.backoff.ms": "100"}) as broker:
        pipeline = Pipeline(broker.bootstrap_servers, topic_prefix, tmp_path)
        soon = {"delete.retention.ms": "1000", "segment.ms": "1000"}
        changelog = replace(ANALYTICS_STATE, config={**ANALYTICS_STATE.config, **soon})
        await ensure_topics(pipeline.settings(), [changelog])
        partition = TopicPartition(topic_prefix + changelog.name, 0)
        connection = await BrokerConnection.open(pipeline.kafka, [partition.topic])
        # Of a producer whose last transaction left only its marker here, compaction keeps an empty batch.
        former = TransactionalProducer(connection, "former", topic_prefix)
        await former.start()
        await former.add_partitions([partition])
        await former.end(commit=True)
        producer, member = TransactionalProducer(connection, "stage", topic_prefix), no_member("group")
        await producer.start()
        written = 0

        async def commit() -> None:
            nonlocal written
            written += 1
            outputs = OutputBuffer({changelog.name: 6})
            outputs.send(changelog.name, 0, b"key", b"%d" % written, int(time.time() * 1000), [])
            await producer.commit(outputs, {}, member)

        async def is_short() -> bool:
            await commit()  # the newest segment is not compacted
            return await size_bytes(pipeline, partition) < FEW_MARKERS * MARKER_BYTES

        for _ in range(4 * FEW_MARKERS):
            await commit()
        await eventually(is_short, what="the markers are gone")
        restored = read_committed_records(pipeline.settings(), [partition])
        values = [record.value async for _, records in restored for record in records]
        assert values[-1] == b"%d" % written
        await connection.close()
