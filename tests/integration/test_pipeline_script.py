"""`./test_pipeline.sh`, as the README advises it, on fewer orders."""

import contextlib
import os
import re
import subprocess
from pathlib import Path

from tests.integration.services import HANGS_AFTER_S, ROOT


def processes_of(folder: str) -> list[str]:
    """The programs that have been started with ``folder`` in their environment, where /proc shows that."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if folder.encode() in environment.read_bytes():
                found.append(environment.with_name("cmdline").read_text())
    return found


def test_it_verifies_a_pipeline_of_its_own_and_leaves_nothing_behind() -> None:
    env = os.environ | {"GENERATOR_COUNT": "2000", "GENERATOR_BACKFILL_SECONDS": "60", "WINDOW_SECONDS": "2"}
    done = subprocess.run(
        ["./test_pipeline.sh", "--quick", "--mode", "local", "--processors", "2"],
        cwd=ROOT,
        env=env | {"IDLE_AFTER_SECONDS": "2"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"orders sent +│ +2,000 ", done.stdout)
    assert "processor-2 " in done.stdout
    assert done.stdout.endswith("\n== passed\n")
    (folder,) = set(re.findall(r"/tmp/pipeline-check\.\w+", done.stdout))
    assert not Path(folder).exists()
    assert processes_of(folder) == []
