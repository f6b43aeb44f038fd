"""Processing continues when a replica stops or crashes. The time is measured by `python -m benchmarks.scaling --only recovery`."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.partitioning import partition_for
from tests.integration.pipeline import Pipeline
from tests.integration.services import ServiceProcess, eventually

PARTITIONS = range(6)
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
