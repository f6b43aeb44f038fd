import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
import pytest
from tests.integration.pipeline import Pipeline
from tests.integration.services import ENTRY_FILES

OLD = Path("/tmp/wt/base")


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
async def test_upgrade(kafka, topic_prefix, tmp_path, kill, mixed):
    pipeline = Pipeline(kafka, topic_prefix, tmp_path, 2)
    async with AsyncExitStack() as stack:

        async def start(name, old=False, **env):
            entry = OLD / ENTRY_FILES[name] if old else None
            return await stack.enter_async_context(pipeline.service(name, entry_file=entry, **env))

        old = {name: [await start(name, old=True) for _ in range(2)] for name in ("processor", "analytics")}
        await start("sink", old=True)
        for each in old["analytics"]:
            await each.wait_for("partitions assigned")
        gen = await start("generator", GENERATOR_RATE="500", GENERATOR_COUNT="25000", GENERATOR_FAULTS="0.01")
        await asyncio.sleep(12)
        for name in ("analytics", "processor"):
            if mixed:
                new = [await start(name) for _ in range(2)]
                await asyncio.sleep(6)
            for each in old[name]:
                each.kill() if kill else each.terminate()
            for each in old[name]:
                print(name, await each.wait())
            if not mixed:
                new = [await start(name) for _ in range(2)]
            await asyncio.sleep(8)
            for each in new:
                print([e for e in each.events() if e.get("level") in ("warning", "error")][:6])
        assert await gen.wait() == 0
        await asyncio.sleep(3)
        report = await pipeline.verify()
        print(report.sent, report.processed, report.late, report.dead_letters)
        assert report.late == 0
        assert report.in_closed_windows == report.processed == 25000 - sum(report.dead_letters.values())
