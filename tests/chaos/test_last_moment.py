"""A zombie that commits at the last moment: between its successor's look at the committed offset and its first order."""

from pathlib import Path

import orjson
import pytest
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.topics import ORDERS, PROCESSED_ORDERS
from libs.events.watermarks import WATERMARK_HEADERS
from libs.runtime.broker import committed_consumer
from libs.runtime.clock import SystemClock
from libs.runtime.transaction import TransactionalProducer
from services.processor.order_processor import make_stage
from tests.integration.pipeline import Pipeline, history, no_member

ORDERS_SENT = 200


async def test_a_zombie_cannot_commit_what_its_successor_is_about_to_process(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    await pipeline.send([(0, [orjson.dumps(order) for order in history(ORDERS_SENT, span_s=10, seed=1)])])
    source = TopicPartition(topic_prefix + ORDERS.name, 0)

    stage = make_stage(pipeline.settings(), SystemClock(), CollectorRegistry())
    zombie = TransactionalProducer(
        pipeline.settings(),
        transactional_id=f"{topic_prefix}{stage.name}-{stage.source.name}-0",
        member=no_member(topic_prefix + stage.name),
        partitions={topic.name: 6 for topic in stage.outputs},
    )
    await zombie.start()
    consumer = committed_consumer(pipeline.settings(), group=None)
    await consumer.start()
    consumer.assign([source])
    outputs, logic = zombie.buffer(), stage.logic(*source)
    while await consumer.position(source) < ORDERS_SENT:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            logic.process(records, outputs)
    logic.before_commit(outputs)
    await consumer.stop()

    async def zombie_wakes_up() -> None:
        with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
            await zombie.commit(outputs, source, ORDERS_SENT)

    await pipeline.process_partition_alone(0, meanwhile=zombie_wakes_up)
    await zombie.close()

    written = await pipeline.read(PROCESSED_ORDERS.name)
    assert sum(list(record.headers) != WATERMARK_HEADERS for record in written) == ORDERS_SENT
