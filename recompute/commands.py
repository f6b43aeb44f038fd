"""Plans and carries out a recomputation."""

import asyncio
from dataclasses import dataclass

from aiokafka.errors import for_code
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.events.topics import ALL_TOPICS, DEAD_LETTERS_REPLAYED, ORDERS, STAGES
from libs.runtime.errors import PipelineError
from libs.runtime.exactly_once.committed_offsets import encode_metadata
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_client.group_members import count_members

_GONE_WITHIN_S = 30.0


@dataclass(frozen=True)
class Plan:
    """The topics to be deleted, the first and end offsets of `orders`, and whether dead letters were ever ``replayed``."""

    group: str
    orders: str
    topics: list[str]
    begins: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    replayed: bool = False

    @property
    def topic_prefix(self) -> str:
        return self.orders.removesuffix(ORDERS.name)


async def make_plan(kafka: Kafka, topic_prefix: str) -> Plan:
    """Make the plan without changing anything.

    Raises:
        PipelineError: there is no such pipeline, or its services are running.
    """
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        orders = topic_prefix + ORDERS.name
        if orders not in existing:
            raise PipelineError(f"there is no topic {orders!r}", advice="name the pipeline's TOPIC_PREFIX")
        await _refuse_members(admin, topic_prefix)
        [described] = await admin.describe_topics([orders])
    finally:
        await admin.close()
    consumer = AIOKafkaConsumer(**client_arguments(kafka), isolation_level="read_committed")
    await consumer.start()
    try:
        partitions = [TopicPartition(orders, each["partition"]) for each in described["partitions"]]
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    derived = [topic_prefix + topic.name for topic in ALL_TOPICS if topic is not ORDERS]
    topics = [each for each in derived if each in existing]
    replayed = topic_prefix + DEAD_LETTERS_REPLAYED.name in existing
    return Plan(topic_prefix + "processor", orders, topics, begins, ends, replayed)


async def carry_out(kafka: Kafka, plan: Plan) -> None:
    """Delete the derived topics, then set the processor's offsets to the beginning of `orders`.

    The broker deletes the other groups' offsets with their topics. If interrupted, it can be run again.

    Raises:
        PipelineError: a service was started since the plan was made, or a topic was not deleted.
    """
    await _delete(kafka, plan)
    metadata = encode_metadata({"TOPIC_PARTITIONS": len(plan.begins)})
    consumer = AIOKafkaConsumer(**client_arguments(kafka), group_id=plan.group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(plan.begins))
        await consumer.commit({each: OffsetAndMetadata(offset, metadata) for each, offset in plan.begins.items()})
    finally:
        await consumer.stop()


async def _delete(kafka: Kafka, plan: Plan) -> None:
    topics = plan.topics
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        await _refuse_members(admin, plan.topic_prefix)  # the confirmation may have taken long
        if not topics:
            return
        response = await admin.delete_topics(topics)
        for topic, code in response.topic_error_codes:  # type: ignore[attr-defined]  # aiokafka's base class has no fields
            if code:
                raise PipelineError(f"topic {topic!r} cannot be deleted: {for_code(code).__name__}")
        async with asyncio.timeout(_GONE_WITHIN_S):
            while set(topics) & set(await admin.list_topics()):  # noqa: ASYNC110 - the broker sends no notification
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise PipelineError("the broker has not deleted the topics yet", advice="run the command again") from error
    finally:
        await admin.close()


async def _refuse_members(admin: AIOKafkaAdminClient, topic_prefix: str) -> None:
    for stage in STAGES:
        group = topic_prefix + stage
        code, members = await count_members(admin, group)
        if code:
            raise PipelineError(
                f"it is unknown whether group {group!r} has members: {for_code(code).__name__}", advice="try again"
            )
        if members:
            raise PipelineError(
                f"group {group!r} has {members} members",
                advice="stop all services; a killed one stays a member for ten seconds",
            )
