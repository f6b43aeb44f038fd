"""A reset group or a changed setting is detected, so that nothing is silently counted twice."""

import asyncio
import time
import uuid
from pathlib import Path

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition

from libs.events.topics import ORDERS, PROCESSED_ORDERS
from libs.runtime.errors import PipelineError
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from recompute import commands
from recompute.commands import carry_out, make_plan
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import ServiceProcess


@pytest.fixture(scope="module")
def pipeline(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A pipeline that has processed 600 orders and was stopped; each test leaves it like that."""

    used = Pipeline(kafka, f"test-{uuid.uuid4().hex[:10]}-", tmp_path_factory.mktemp("pipeline"))
    asyncio.run(send_and_process(used))
    return used


async def send_and_process(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    orders = [orjson.dumps(order) for order in history(600, 60, seed=5)]
    await pipeline.send([(number, orders[number::6]) for number in range(6)])
    await process_all(pipeline)


async def process_all(pipeline: Pipeline) -> None:
    """Run the services until all orders are in closed windows, which is verified."""
    async with pipeline.service("processor") as processor, pipeline.service("analytics") as analytics:
        async with pipeline.service("sink"):
            await processor.wait_for("partition started")  # after a recomputation it has to recreate the topics
            report = await pipeline.verify()
        for service in (processor, analytics):
            await stop(service)
    assert report.sent == report.processed == report.in_closed_windows == 600


async def stop(service: ServiceProcess) -> None:
    """A killed one would stay a group member for ten seconds."""
    service.terminate()
    assert await service.wait() == 0


async def test_a_changelog_that_does_not_match_the_offset_ends_the_analytics_and_the_advice_fixes_it(
    pipeline: Pipeline,
) -> None:
    reset = pipeline.prefix + PROCESSED_ORDERS.name + "-0"
    await pipeline.commit("analytics", PROCESSED_ORDERS.name, 0)
    async with pipeline.service("analytics") as analytics:
        failed = await analytics.wait_for("service failed")
        assert f"the committed offset of {reset} is 0, but its state" in failed["error"]
        assert await analytics.wait() == 1
    right = int(failed["error"].partition("belongs to offset ")[2].partition(":")[0])
    assert f"--to-offset {right} --execute" in failed["advice"]
    await pipeline.commit("analytics", PROCESSED_ORDERS.name, right)
    await process_all(pipeline)


async def test_a_processor_with_a_reset_group_ends_and_everything_can_be_recreated(pipeline: Pipeline) -> None:
    await pipeline.commit("processor", ORDERS.name, 0)
    async with pipeline.service("processor") as processor:
        failed = await processor.wait_for("service failed")
        assert "the committed offset 0" in failed["error"]
        assert await processor.wait() == 1
    await carry_out(pipeline.kafka, await make_plan(pipeline.kafka, pipeline.prefix), asyncio.Event())
    await process_all(pipeline)


async def test_nothing_is_deleted_if_a_service_was_started_after_the_plan_was_made(pipeline: Pipeline) -> None:
    plan, begun = await make_plan(pipeline.kafka, pipeline.prefix), asyncio.Event()
    async with pipeline.service("processor") as processor:
        await processor.wait_for("partition started")
        with pytest.raises(PipelineError, match="processor' has 1 members"):
            await carry_out(pipeline.kafka, plan, begun)
        await stop(processor)
    assert not begun.is_set()
    await process_all(pipeline)


@pytest.mark.parametrize("stopped_at", ["before the deletion", "amid the deletion", "after the deletion"])
async def test_an_interrupted_recomputation_is_finished_by_a_second_one_and_nothing_starts_before(
    pipeline: Pipeline, stopped_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the processor continued at its former offset, with empty outputs."""
    delete = commands._delete

    async def interrupted(admin: AIOKafkaAdminClient, topics: list[str]) -> None:
        if stopped_at != "before the deletion":
            await delete(admin, topics[:2] if stopped_at == "amid the deletion" else topics)
        raise KafkaConnectionError

    plan = await make_plan(pipeline.kafka, pipeline.prefix)
    with monkeypatch.context() as patch:
        patch.setattr(commands, "_delete", interrupted)
        with pytest.raises(KafkaConnectionError):
            await carry_out(pipeline.kafka, plan, asyncio.Event())
    async with (
        pipeline.service("analytics") as analytics,
        pipeline.service("processor", PROCESSOR_ACCEPT_OFFSETS="true") as processor,
    ):
        assert (await processor.wait_for("committed offsets are not checked"))["level"] == "warning"
        failed = await processor.wait_for("service failed")
        assert "pipeline recompute" in failed["advice"]
        assert await processor.wait() == 1
        analytics.terminate()
        await analytics.wait()
    await carry_out(pipeline.kafka, await make_plan(pipeline.kafka, pipeline.prefix), asyncio.Event())
    await process_all(pipeline)


async def test_a_changed_window_length_is_rejected(pipeline: Pipeline) -> None:
    async with pipeline.service("analytics", WINDOW_SECONDS="10") as analytics:
        failed = await analytics.wait_for("service failed")
        assert "WINDOW_SECONDS=10" in failed["error"]
        assert "WINDOW_SECONDS=5" in failed["error"]
        assert await analytics.wait() == 1


async def test_an_aborted_first_transaction_is_not_taken_for_output(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    await pipeline.send([(0, [orjson.dumps(order) for order in history(10, 10, seed=6)])])
    connection = await BrokerConnection.open(kafka, [topic_prefix + PROCESSED_ORDERS.name])
    producer = TransactionalProducer(connection, f"{topic_prefix}t", topic_prefix)
    await producer.start()
    outputs = OutputBuffer({PROCESSED_ORDERS.name: 6})
    # An old record could be deleted by the topic's retention meanwhile.
    outputs.send(PROCESSED_ORDERS.name, 0, None, b"{}", int(time.time() * 1000), [])
    batches = {TopicPartition(topic_prefix + PROCESSED_ORDERS.name, 0): outputs.batches()[PROCESSED_ORDERS.name, 0]}
    await producer.add_partitions(batches)
    await producer.produce(batches)
    await producer.end(commit=False)
    await connection.close()
    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        report = await pipeline.verify()
    assert report.sent == report.processed == 10
