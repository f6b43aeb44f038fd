"""Topics that the broker rejects or that are deleted cause a clear error, and processing continues once they are fixed."""

import asyncio
import math
import time

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from acls.acl import Acl
from acls.admin import create
from libs.events.topics import ANALYTICS_STATE, LATE_ORDERS, ORDERS, PROCESSED_ORDERS
from libs.runtime.errors import PipelineError, TopicMismatchError, TopicRefusedError
from libs.runtime.rights.right import Operation, Resource
from libs.runtime.topics import creation
from libs.runtime.topics.creation import ensure_topics
from libs.runtime.topics.topic import Topic
from recompute.commands import carry_out, make_plan
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import eventually


async def send(pipeline: Pipeline, seed: int) -> None:
    values = [orjson.dumps(order) for order in history(60, 10, seed)]
    await pipeline.send([(partition, values[partition::6]) for partition in range(6)])


async def committed(pipeline: Pipeline, admin: AIOKafkaAdminClient, offset: int) -> None:
    """Wait until the processor has committed ``offset`` in every partition."""

    async def is_committed() -> bool:
        try:
            offsets = await admin.list_consumer_group_offsets(pipeline.prefix + "processor")
        except KafkaError:  # a new group has no coordinator for a moment
            return False
        return [each.offset for each in offsets.values()] == [offset] * 6

    await eventually(is_committed)


async def test_a_topic_that_the_broker_rejects_ends_the_start_with_an_error(pipeline: Pipeline) -> None:
    with pytest.raises(TopicRefusedError, match=r"retention\.ms"):
        await ensure_topics(pipeline.settings(), [Topic("refused", {"retention.ms": "long"})])


async def test_creating_acls_without_an_authorizer_is_an_error(kafka: str) -> None:
    with pytest.raises(PipelineError, match="the cluster has no ACLs"):
        await create(kafka, [Acl("User:sink", Operation.READ, Resource.TOPIC, "product-metrics", prefixed=False)])


async def test_a_service_waits_for_missing_brokers_with_a_time_limit(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "_BROKERS_COME_UP_S", 1.0)
    began_s = time.monotonic()
    settings = pipeline.settings().model_copy(update={"topic_replication_factor": 10})
    with pytest.raises(TopicRefusedError) as refused:
        await ensure_topics(settings, [ORDERS])
    assert time.monotonic() - began_s >= 1
    assert "TOPIC_REPLICATION_FACTOR" in refused.value.advice


async def test_a_wrong_number_of_partitions_is_noticed_before_topics_are_created(
    pipeline: Pipeline, admin: AIOKafkaAdminClient
) -> None:
    """Otherwise they have the wrong number as well, and have to be deleted."""
    orders = pipeline.prefix + ORDERS.name
    await admin.create_topics([NewTopic(orders, 12, 1)])
    with pytest.raises(TopicMismatchError, match="has 12 partitions, TOPIC_PARTITIONS says 6") as refused:
        await ensure_topics(pipeline.settings(), [ORDERS, PROCESSED_ORDERS])
    assert "set TOPIC_PARTITIONS=12" in refused.value.advice
    assert [name for name in await admin.list_topics() if name.startswith(pipeline.prefix)] == [orders]


async def test_deleted_topics_end_a_running_service(pipeline: Pipeline, admin: AIOKafkaAdminClient) -> None:
    """A supervisor restarts the service, which then recreates them."""
    await pipeline.make_topics()
    names = [pipeline.prefix + topic.name for topic in (ORDERS, PROCESSED_ORDERS)]
    async with pipeline.service("processor") as processor:
        await send(pipeline, seed=1)
        await committed(pipeline, admin, 10)
        await admin.delete_topics(names)
        assert await processor.wait() == 1
        failed = await processor.wait_for("service failed")
        assert all(name in failed["error"] for name in names)
        processor.start()
        await processor.wait_for("partition started")
        await send(pipeline, seed=2)
        await send(pipeline, seed=3)
        await committed(pipeline, admin, 20)


async def test_added_partitions_end_a_running_service(pipeline: Pipeline, admin: AIOKafkaAdminClient) -> None:
    await pipeline.make_topics()
    async with pipeline.service("processor") as processor:
        await send(pipeline, seed=1)
        await committed(pipeline, admin, 10)
        await admin.create_partitions({pipeline.prefix + ORDERS.name: NewPartitions(total_count=8)})
        assert await processor.wait() == 1
        failed = await processor.wait_for("service failed")
        assert f"'{pipeline.prefix}{ORDERS.name}' has 8 partitions by now and had 6" in failed["error"]
        assert "make recompute" in failed["advice"]
    # Following the advice works.
    plan = await make_plan(pipeline.kafka, pipeline.prefix)
    await carry_out(pipeline.kafka, plan, asyncio.Event())
    async with (
        pipeline.service("processor", TOPIC_PARTITIONS="8") as processor,
        pipeline.service("analytics", TOPIC_PARTITIONS="8") as analytics,
        pipeline.service("sink", TOPIC_PARTITIONS="8"),
    ):
        for service in (processor, analytics):
            await service.wait_for("partition started")  # all topics exist
        await pipeline.send([(7, [orjson.dumps(order) for order in history(60, 10, seed=2)])])
        report = await pipeline.verify()
    assert report.accepted == 120


async def test_the_plan_of_a_recomputation_has_the_settings_that_were_made_by_hand(
    pipeline: Pipeline, admin: AIOKafkaAdminClient
) -> None:
    await pipeline.make_topics()
    plan = await make_plan(pipeline.kafka, pipeline.prefix)
    assert (plan.replicas, plan.lost_settings) == (1, [])
    name = pipeline.prefix + LATE_ORDERS.name
    configs = dict(LATE_ORDERS.config) | {"retention.ms": "-1"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])

    async def is_listed() -> bool:
        return (await make_plan(pipeline.kafka, pipeline.prefix)).lost_settings == [f"{name}: retention.ms=-1"]

    await eventually(is_listed)


async def test_the_plan_of_a_recomputation_says_from_when_on_all_orders_are_there(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    before_s = time.time()
    await send(pipeline, seed=1)
    assert (await make_plan(pipeline.kafka, pipeline.prefix)).whole_since_s == -math.inf
    await pipeline.delete_records(ORDERS.name, lambda end: end // 2)
    assert before_s + 60 <= (await make_plan(pipeline.kafka, pipeline.prefix)).whole_since_s <= time.time() + 60


async def test_a_lowered_record_size_limit_is_logged_and_retried_until_it_is_raised(
    pipeline: Pipeline, admin: AIOKafkaAdminClient
) -> None:
    name = pipeline.prefix + PROCESSED_ORDERS.name

    async def set_limit(limit: str) -> None:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": limit})])

    await pipeline.make_topics()
    await set_limit("200")
    async with pipeline.service("processor") as processor:
        await send(pipeline, seed=1)

        async def topic_and_setting_are_named() -> bool:
            restarts = [line for line in processor.events() if "starting again" in line["event"]]
            return any(name in line["error"] and "max.message.bytes" in line["error"] for line in restarts)

        await eventually(topic_and_setting_are_named)
        await set_limit("2097152")
        await committed(pipeline, admin, 10)
        assert processor.process.poll() is None


async def test_a_deleted_changelog_is_detected(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    await pipeline.commit("analytics", PROCESSED_ORDERS.name, 5)
    async with pipeline.service("analytics") as analytics:
        await analytics.wait_for("the state is gone", committed_offset=5)


async def test_an_expired_committed_offset_is_detected(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        await producer.send_and_wait(pipeline.prefix + ANALYTICS_STATE.name, key=b'[0,60,"prod-1"]', partition=0)
    async with pipeline.service("analytics") as analytics:
        await analytics.wait_for("the committed offset is gone", changelog_records=1)
