"""The real services' debug log: one order is followed to its window, and the window to the file."""

from contextlib import AsyncExitStack
from pathlib import Path

from tests.integration.pipeline import Pipeline
from tests.integration.services import Event

OUTSIDE_TRANSACTIONS = {"partition started", "state restored"}
IN_TRANSACTIONS = {"order processed", "order counted", "window closed", "transaction committed"}


def partition_of(event: Event, prefix: str) -> str:
    """The partition that the record of ``event`` is written to, as its reader logs it."""
    return f"{prefix}{event['to_topic']}-{event['to_partition']}"


async def test_debug_logs_trace_an_order_to_its_window_and_the_window_to_the_file(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(pipeline.service(name, LOG_LEVEL="debug"))
            for name in ("processor", "analytics", "sink")
        ]
        processor, analytics, sink = services
        generator = await stack.enter_async_context(
            pipeline.service("generator", LOG_LEVEL="debug", GENERATOR_COUNT="60", GENERATOR_RATE="30")
        )

        queued = await generator.wait_for("order queued")
        order = {"order_id": queued["order_id"]}
        processed = await processor.wait_for(
            "order processed", **order, service="processor", partition=partition_of(queued, topic_prefix)
        )
        counted = await analytics.wait_for(
            "order counted", **order, service="analytics", partition=partition_of(processed, topic_prefix)
        )
        window = {name: counted[name] for name in ("window_start", "window_end", "product_id")}
        await analytics.wait_for("window closed", **window, service="analytics", partition=counted["partition"])
        await sink.wait_for("window written", **window, service="sink")
        assert await generator.wait() == 0

        for service in (generator, *services):
            assert [line for line in service.events() if "raw" in line or "service" not in line] == []
        events = processor.events() + analytics.events()
        assert {line["event"] for line in events} >= IN_TRANSACTIONS | OUTSIDE_TRANSACTIONS
        for line in events:
            if line["event"] in IN_TRANSACTIONS:
                assert isinstance(line["transaction"], int), line
            if line["event"] in OUTSIDE_TRANSACTIONS:
                assert "transaction" not in line, line
            if line["event"] == "transaction committed":
                assert all(partition.startswith(topic_prefix) for partition in line["next_offsets"]), line
            elif line["event"] in IN_TRANSACTIONS | OUTSIDE_TRANSACTIONS:
                assert line["partition"].startswith(topic_prefix), line
