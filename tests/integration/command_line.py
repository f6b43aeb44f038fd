"""Runs a command of `pipeline` as a process, on the test's pipeline."""

import asyncio
import os
import sys

from tests.integration.pipeline import Pipeline
from tests.integration.services import ROOT


async def run_command(pipeline: Pipeline, name: str, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, output and error output; ``settings`` are added to the environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", name, *arguments),
        *(f"--bootstrap={pipeline.kafka}", f"--topic-prefix={pipeline.prefix}"),
        cwd=ROOT,
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
