"""Records that were deleted before they were read are reported, and do not block the services."""

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from tests.integration.committed_offsets import CommittedOffsets
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import eventually


async def send(pipeline: Pipeline, count: int) -> None:
    await pipeline.send([(0, [orjson.dumps(order) for order in history(count, 10, seed=count)])])


async def committed(pipeline: Pipeline, offset: int) -> None:
    offsets = CommittedOffsets(pipeline.kafka, pipeline.prefix + "processor")
    source = TopicPartition(pipeline.prefix + "orders", 0)

    async def is_committed() -> bool:
        return await offsets.fetch(source) == offset

    await eventually(is_committed, what=f"offset {offset} is committed")
    await offsets.close()


async def test_records_deleted_before_a_lagging_service_reads_them_are_skipped(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    await send(pipeline, 30)
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        async with pipeline.service("processor") as processor:
            await committed(pipeline, 30)
            processor.pause()
            await send(pipeline, 10)  # answers the request in flight
            await send(pipeline, 10)
            await admin.delete_records({TopicPartition(pipeline.prefix + "orders", 0): RecordsToDelete(45)})
            processor.resume()
            await processor.wait_for("records were deleted before they were read", first_offset=45)
            await committed(pipeline, 50)
    finally:
        await admin.close()


async def test_a_committed_offset_beyond_the_end_restarts_at_the_beginning(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    await pipeline.commit("processor", "orders", 5000)
    await send(pipeline, 30)
    async with pipeline.service("processor", PROCESSOR_ACCEPT_OFFSETS="true") as processor:
        await processor.wait_for("the topic ends before the committed offset: reading it from its beginning")
        await committed(pipeline, 30)
