"""Exactly-once under crashes and rebalances, checked by the independent verification.

Pauses beyond the session and outages of the broker: `tests/chaos/test_short_form.py`.
"""

import asyncio
from contextlib import AsyncExitStack
from random import Random

from services.generator.faults import KINDS
from tests.integration.pipeline import Pipeline
from tests.integration.services import ServiceProcess, eventually


async def start(stack: AsyncExitStack, pipeline: Pipeline, name: str, count: int = 1) -> list[ServiceProcess]:
    return [await stack.enter_async_context(pipeline.service(name)) for _ in range(count)]


async def start_traffic(stack: AsyncExitStack, pipeline: Pipeline, faults: str = "") -> ServiceProcess:
    generator = pipeline.service("generator", GENERATOR_RATE="200", GENERATOR_FAULTS=faults)
    return await stack.enter_async_context(generator)


async def test_a_backlog_with_invalid_orders_of_every_kind_is_exact(pipeline: Pipeline) -> None:
    """Twenty minutes of history that both stages catch up with in parallel: stream time with grace loses most here."""
    pipeline.window_s = 60
    pipeline.env["WINDOW_SECONDS"] = "60"
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(
            pipeline.service(
                "generator",
                GENERATOR_RATE="42",
                GENERATOR_COUNT="50000",
                GENERATOR_BACKFILL_SECONDS="1200",
                GENERATOR_FAULTS="0.01",
                GENERATOR_SEED="7",
            )
        )
        assert await generator.wait() == 0
        await start(stack, pipeline, "processor", 3)
        (analytics, _) = await start(stack, pipeline, "analytics", 2)
        await start(stack, pipeline, "sink")
        await analytics.wait_for("partitions assigned")  # the topics exist
        report = await pipeline.verify()
    assert report.sent == 50_000
    assert report.late == 0
    assert report.in_closed_windows == report.processed == 50_000 - sum(report.dead_letters.values())
    assert len(report.dead_letters) == len(KINDS)


async def test_the_result_is_exact_after_repeated_kills(pipeline: Pipeline) -> None:
    random = Random(11)
    async with AsyncExitStack() as stack:
        processors = await start(stack, pipeline, "processor", 2)
        analytics = await start(stack, pipeline, "analytics", 2)
        sinks = await start(stack, pipeline, "sink")
        generator = await start_traffic(stack, pipeline, faults="0.01")
        await eventually(lambda: pipeline.has_records("analytics-state"), what="both stages process orders")
        for _ in range(12):
            await asyncio.sleep(random.uniform(0.5, 2.0))
            victim = random.choice([*processors, *analytics, *sinks])
            victim.kill()
            await victim.wait()
            victim.start()
        sent = await generator.all_sent()
        report = await pipeline.verify()
    assert report.sent == sent
    assert report.late == 0


async def test_the_result_is_exact_while_scaling_up_and_down(pipeline: Pipeline) -> None:
    async with AsyncExitStack() as stack:
        await start(stack, pipeline, "processor")
        await start(stack, pipeline, "analytics")
        await start(stack, pipeline, "sink")
        generator = await start_traffic(stack, pipeline)
        await eventually(lambda: pipeline.has_records("analytics-state"), what="both stages process orders")
        for _ in range(3):
            async with pipeline.service("processor") as second, pipeline.service("analytics") as third:
                await second.wait_for("partition started")
                await third.wait_for("partition started")
                second.terminate()
                third.terminate()
                assert await second.wait() == 0
                assert await third.wait() == 0
        sent = await generator.all_sent()
        report = await pipeline.verify()
    assert report.sent == report.processed == sent
    assert report.late == 0


async def test_no_order_is_late_because_a_stage_was_down(pipeline: Pipeline) -> None:
    """There is no watermark of partitions without a replica, so orders waiting there are not late."""
    async with AsyncExitStack() as stack:
        (processor,) = await start(stack, pipeline, "processor")
        (analytics,) = await start(stack, pipeline, "analytics")
        await start(stack, pipeline, "sink")
        generator = await start_traffic(stack, pipeline)
        await eventually(lambda: pipeline.has_records("analytics-state"))
        for absent in (processor, analytics):
            absent.terminate()
            assert await absent.wait() == 0
            await asyncio.sleep(8)  # longer than a window and IDLE_AFTER_SECONDS together
            absent.start()
        sent = await generator.all_sent()
        report = await pipeline.verify()
        restored = [event["changelog_records"] for event in analytics.events() if event["event"] == "state restored"]
        assert sum(restored) > 0
    assert report.sent == report.in_closed_windows == sent
    assert report.late == 0
