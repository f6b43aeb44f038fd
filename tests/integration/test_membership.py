"""A replica stays a member of its group, so that it can take over."""

import asyncio
import time
from collections.abc import Collection
from itertools import pairwise
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.consumers import consumer_arguments
from libs.runtime.kafka_client.idle_polling import IdlePolling
from libs.runtime.timing import HEARTBEAT_INTERVAL_MS, IDLE_AFTER_S, IDLE_INTERVAL_S, SESSION_TIMEOUT_MS
from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually


async def test_a_rejected_join_is_retried(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    foreign = AIOKafkaConsumer(
        pipeline.prefix + "orders",
        bootstrap_servers=pipeline.kafka,
        group_id=pipeline.prefix + "processor",
        partition_assignment_strategy=[RoundRobinPartitionAssignor],  # unlike our replicas
    )
    await foreign.start()
    async with pipeline.service("processor") as processor:
        await processor.wait_for("joining the group failed, trying again")
        await foreign.stop()
        await processor.wait_for("partitions assigned")


async def test_a_replica_without_partitions_stays_in_its_group(pipeline: Pipeline) -> None:
    """aiokafka considers a member that does not read failed; see ``NO_MAX_POLL_INTERVAL_MS``."""
    await pipeline.make_topics()
    consumer = AIOKafkaConsumer(**consumer_arguments(pipeline.settings(), "idle"))
    await consumer.start()
    try:
        consumer.subscribe([pipeline.prefix + "orders"])
        await eventually(lambda: bool(consumer.assignment()))
        coordinator: Any = consumer._coordinator
        generation = coordinator.generation
        assert consumer._subscription._last_fetch_ended is not None
        consumer._subscription._last_fetch_ended = time.monotonic() - 86_400
        await asyncio.sleep(4 * HEARTBEAT_INTERVAL_MS / 1000)  # it would leave with the next heartbeat
        assert coordinator.generation == generation
        assert not coordinator._coordination_task.done()
    finally:
        await consumer.stop()


async def test_an_idle_replica_stays_in_its_group_with_fewer_heartbeats(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    consumer = AIOKafkaConsumer(**consumer_arguments(pipeline.settings(), "idle"))
    await consumer.start()
    try:
        coordinator: Any = consumer._coordinator
        heartbeat, sent = coordinator._do_heartbeat, []

        async def counted() -> bool:
            sent.append(time.monotonic())
            return bool(await heartbeat())

        coordinator._do_heartbeat = counted
        ahead_s = 0.0
        pace = IdlePolling(consumer, lambda: time.monotonic() + ahead_s)
        consumer.subscribe([pipeline.prefix + "orders"])
        await eventually(lambda: bool(consumer.assignment()))
        generation = coordinator.generation
        ahead_s = IDLE_AFTER_S
        pace.note(busy=False)
        sent.clear()
        await eventually(lambda: len(sent) * IDLE_INTERVAL_S > 1.5 * SESSION_TIMEOUT_MS / 1000)
        assert all(later - earlier >= IDLE_INTERVAL_S * 0.9 for earlier, later in pairwise(sent))
        assert coordinator.generation == generation
        assert await members_of(pipeline.prefix + "idle", pipeline.kafka) == 1
    finally:
        await consumer.stop()


async def members_of(group: str, kafka: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        described: Any = await admin.describe_consumer_groups([group])
        ((_, name, _, _, _, members, *_),) = described[0].groups
        assert name == group
        return len(members)
    finally:
        await admin.close()


class BlockingListener(ConsumerRebalanceListener):
    def __init__(self) -> None:
        self.revoking = asyncio.Event()
        self.released = asyncio.Event()
        self.assigned = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            self.revoking.set()
            await self.released.wait()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.assigned.set()


async def test_a_replica_that_stops_during_a_blocked_rebalance_leaves_its_group(pipeline: Pipeline) -> None:
    """aiokafka's ``stop()`` waits for the rebalance; without a leave the others would wait for the session's end."""
    await pipeline.make_topics()
    slow = AIOKafkaConsumer(**consumer_arguments(pipeline.settings(), "processor"))
    await slow.start()
    listener = BlockingListener()
    try:
        slow.subscribe([pipeline.prefix + "orders"], listener=listener)
        await eventually(lambda: len(slow.assignment()) == 6)
        async with pipeline.service("processor") as processor:
            await listener.revoking.wait()
            processor.terminate()
            assert await processor.wait() == 0
        assert await members_of(pipeline.prefix + "processor", pipeline.kafka) == 1
        listener.assigned.clear()
        listener.released.set()
        await listener.assigned.wait()
        await eventually(lambda: len(slow.assignment()) == 6)
    finally:
        listener.released.set()
        await slow.stop()
