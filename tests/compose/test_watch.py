"""`make watch BOOTSTRAP=…`: the view of what Docker runs, from outside of it."""

import asyncio
import re
import sys

from tests.compose.project import ROOT, Project

STAGES = re.compile(
    r"\d\d:\d\d:\d\d orders \d+/s, [\d,]+ in all → processor \d+/s accepted, lag [\d,]+.* → analytics lag [\d,]+.* → sink lag"
)


async def test_it_can_be_watched_through_a_pipe(pipeline: Project) -> None:
    where = ("--bootstrap", pipeline.bootstrap, "--window-seconds", pipeline.settings["WINDOW_SECONDS"])
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "watch", *where, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert watch.stdout
    try:
        async with asyncio.timeout(120):
            missing = {"stages", "window"}
            while missing:
                line = (await watch.stdout.readline()).decode()
                assert line, "it has ended"
                assert "\x1b" not in line
                if STAGES.match(line):
                    missing.discard("stages")
                if re.match(r"closed .* prod-\d: \d+ orders, revenue", line):
                    missing.discard("window")
        watch.terminate()
        assert await watch.wait() == 0
    finally:
        if watch.returncode is None:
            watch.kill()
            await watch.wait()
