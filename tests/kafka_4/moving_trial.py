"""The migration of docs/moving_to_kafka_4.md, with running services and incoming orders.

It takes minutes, so it is not one of the regular tests: `make test TESTS=tests/kafka_4/moving_trial.py ARGS=-s`.
"""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.integration.pipeline import Pipeline
from tests.integration.services import eventually
from tests.kafka_4.moving_cluster import MovingCluster

BEFORE = 2_000
RATE = 200


async def test_no_order_is_lost_or_counted_twice_during_the_migration(tmp_path: Path) -> None:
    with MovingCluster(tmp_path / "cluster") as cluster:
        pipeline = Pipeline(cluster.bootstrap_servers, "moved-", tmp_path, window_s=2)
        pipeline.env |= {"GENERATOR_RATE": str(RATE), "GENERATOR_FAULTS": "0.02"}

        async def wait_for_metrics() -> None:
            lines = pipeline.output.read_bytes().count(b"\n")
            await eventually(lambda: pipeline.output.read_bytes().count(b"\n") > lines, what="more metrics")

        async with AsyncExitStack() as services:
            for name in ("processor", "processor", "analytics", "sink"):
                await services.enter_async_context(pipeline.service(name))
            async with pipeline.service("generator", GENERATOR_COUNT=str(BEFORE)) as first:
                await first.wait()
            before = await pipeline.verify()
            assert before.sent == BEFORE

            async with pipeline.service("generator") as second:
                await wait_for_metrics()
                for step in cluster.steps:
                    since_s = time.monotonic()
                    await asyncio.to_thread(step)
                    await wait_for_metrics()
                    print(f"{step.__name__}: {time.monotonic() - since_s:.1f} s")  # noqa: T201 - shown when it fails, or with -s
                sent = await second.all_sent()
            after = await pipeline.verify()
        assert after.sent == BEFORE + sent
        assert after.closed_windows > before.closed_windows
        assert after.open_windows == 0
        features = await asyncio.to_thread(cluster.features)
        print(f"{after.sent} orders, {after.lines} metrics\n{features}")  # noqa: T201
        assert re.search(r"metadata\.version\s.*FinalizedVersionLevel: 4\.", features)
        assert re.search(r"transaction\.version\s.*FinalizedVersionLevel: 2", features)
