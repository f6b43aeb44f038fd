"""Plans and carries out a recomputation."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka.errors import CommitFailedError, OffsetOutOfRangeError, UnknownTopicOrPartitionError, for_code
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.events.topics import ALL_TOPICS, DEAD_LETTERS_REPLAYED, ORDERS, STAGES
from libs.runtime.errors import PipelineError
from libs.runtime.exactly_once.committed_offsets import STARTING_OVER, encode_metadata
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, AIOKafkaConsumer, Kafka, client_arguments
from libs.runtime.kafka_client.group_offsets import group_offsets
from libs.runtime.kafka_client.member_count import count_members
from recompute.lost_settings import lost_settings, replica_counts
from verification.history import find_orders_whole_since_s
from verification.topic_reader import TopicReader, reading_failed

_GONE_WITHIN_S = 30.0
_STOP_ALL = (
    "stop all services: in local mode by `pipeline stop generator processor analytics sink`, with Docker Compose by `docker compose stop"
    " generator processor analytics sink`, on Kubernetes as in docs/kubernetes.md (Stopping everything)"
)
_NOT_COMMITTED_BY_A_STAGE = ""  # metadata that the processor accepts with PROCESSOR_ACCEPT_OFFSETS only


@dataclass(frozen=True)
class Plan:
    """The topics to be deleted, the first and end offsets of `orders`, and whether dead letters were ever ``replayed``.

    Orders of windows that begin before ``whole_since_s``, in epoch seconds, may have been deleted; ``-inf``: none were.
    ``replicas`` is the most that a topic to be deleted has; ``lost_settings`` is what was set on these by hand.
    """

    group: str
    orders: str
    topics: list[str]
    begins: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    replayed: bool = False
    whole_since_s: float = -math.inf
    replicas: int = 1
    lost_settings: list[str] = field(default_factory=list)

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
        derived = [topic for topic in ALL_TOPICS if topic is not ORDERS]
        topics = [name for topic in derived if (name := topic_prefix + topic.name) in existing]
        replicas = await replica_counts(admin, topics)
        settings = await lost_settings(admin, derived, topic_prefix, replicas)
    finally:
        await admin.close()
    try:
        async with TopicReader(kafka) as reader:
            begins, ends = await reader.begins(orders), await reader.ends(orders)
            whole_since_s = await find_orders_whole_since_s(reader, orders, begins, ends)
    except OffsetOutOfRangeError as error:
        raise reading_failed(error) from error
    replayed = topic_prefix + DEAD_LETTERS_REPLAYED.name in existing
    return Plan(
        topic_prefix + "processor",
        orders,
        topics,
        {TopicPartition(orders, partition): offset for partition, offset in begins.items()},
        {TopicPartition(orders, partition): offset for partition, offset in ends.items()},
        replayed,
        whole_since_s,
        max(replicas.values(), default=1),
        settings,
    )


async def carry_out(kafka: Kafka, plan: Plan, begun: asyncio.Event) -> None:
    """Delete the derived topics, and set the processor's offsets to the beginning of `orders`.

    The broker deletes the other groups' offsets with their topics.

    ``begun`` is set before the first change. From then on the processor refuses to start until this was run to its end. It can be
    run again after any interruption. If the broker deletes none of the topics, the offsets are set back, and ``begun`` is cleared. A
    group without any offset cannot be set back: it gets offsets at which the processor refuses to start, as it does without any.

    Raises:
        PipelineError: a service was started since the plan was made, or a topic was not deleted.
        KafkaError: a request failed.
    """
    done = encode_metadata({"TOPIC_PARTITIONS": len(plan.begins)})
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        await _refuse_members(admin, plan.topic_prefix)  # the confirmation may have taken long
        before = await group_offsets(admin, plan.group, plan.begins)
        begun.set()
        await _commit(kafka, plan, _begins(plan, STARTING_OVER))
        refused = await _delete(admin, plan.topics) if plan.topics else {}
        was_interrupted = any(each.metadata == STARTING_OVER for each in before.values())
        if refused and len(refused) == len(plan.topics) and not was_interrupted:
            await _commit(kafka, plan, _begins(plan, done if before else _NOT_COMMITTED_BY_A_STAGE) | before)
            begun.clear()
        if refused:
            topic, code = next(iter(refused.items()))
            raise PipelineError(f"topic {topic!r} cannot be deleted: {for_code(code).__name__}")
        await _wait_until_gone(admin, plan.topics)
        await _refuse_members(admin, plan.topic_prefix)  # one that started meanwhile may have read the state
    finally:
        await admin.close()
    await _commit(kafka, plan, _begins(plan, done))


def _begins(plan: Plan, metadata: str) -> dict[TopicPartition, OffsetAndMetadata]:
    return {each: OffsetAndMetadata(offset, metadata) for each, offset in plan.begins.items()}


async def _commit(kafka: Kafka, plan: Plan, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    """Commit ``offsets`` of `orders`, which the broker refuses while the processor's group has members."""
    consumer = AIOKafkaConsumer(**client_arguments(kafka), group_id=plan.group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(plan.begins))
        await consumer.commit(offsets)
    except CommitFailedError as error:
        raise PipelineError(
            f"group {plan.group!r} has members: a service was started meanwhile", advice=_STOP_ALL
        ) from error
    finally:
        await consumer.stop()


async def _delete(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, int]:
    """Ask for the deletion; returns the error codes of the topics for which it was refused."""
    response = await admin.delete_topics(topics)
    # An interrupted run may have deleted one already.
    return {
        topic: code
        for topic, code in response.topic_error_codes  # type: ignore[attr-defined]  # aiokafka's base class has no fields
        if code not in (0, UnknownTopicOrPartitionError.errno)
    }


async def _wait_until_gone(admin: AIOKafkaAdminClient, topics: list[str]) -> None:
    try:
        async with asyncio.timeout(_GONE_WITHIN_S):
            while set(topics) & set(await admin.list_topics()):  # noqa: ASYNC110 - the broker sends no notification
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise PipelineError("the broker has not deleted the topics yet") from error


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
                advice=f"{_STOP_ALL}; a killed one stays a member for ten seconds",
            )
