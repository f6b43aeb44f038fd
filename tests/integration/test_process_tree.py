"""All processes that a command has started end with it, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.services import ROOT, eventually
from tests.integration.test_local_mode import is_running

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
# Starts a session leader that ignores SIGTERM, and an orphaned process; then waits.
STARTS_OTHERS = f"""
import pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
deaf = {DEAF!r}
def start(code):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
first = start(deaf)
first.stdout.readline()
parent = start(
    "import subprocess, sys; null = subprocess.DEVNULL;"
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=null).pid)"
)
(folder / "others.new").write_text(f"{{first.pid}} {{parent.communicate()[0].decode()}}")
(folder / "others.new").rename(folder / "others")
"""
# Starts a process that ends at SIGTERM, and leaves its own child, which does not; then ends both.
ENDS_PARENT_FIRST = f"""
import subprocess, sys
from local.process_tree import end_descendants
parent = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE);"
    "child.stdout.readline(); print(child.pid, flush=True); time.sleep(600)"
)
deaf = {DEAF!r}
started = subprocess.Popen([sys.executable, "-c", parent, deaf], stdout=subprocess.PIPE)
print(started.pid, started.stdout.readline().decode())
end_descendants(1.0)
"""
TEST_FILE = f"""
import subprocess, sys, time
def test_that_waits():
    subprocess.run([sys.executable, "-c", {STARTS_OTHERS!r}, FOLDER], check=True)
    time.sleep(600)
"""


def started_pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "others").read_text().split()]


def test_processes_left_by_a_finished_command_are_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.process_tree", sys.executable, "-c", STARTS_OTHERS, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    pids = started_pids(tmp_path)
    assert len(pids) == 2
    assert not [pid for pid in pids if is_running(pid)]


def test_a_process_is_ended_although_its_parent_has_ended_before() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS_PARENT_FIRST], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    left = [pid for pid in pids if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_the_exit_code_is_that_of_the_command() -> None:
    command = [sys.executable, "-m", "local.process_tree", "sh", "-c"]
    assert subprocess.run([*command, "exit 7"], cwd=ROOT, check=False).returncode == 7
    assert subprocess.run([*command, "kill -KILL $$"], cwd=ROOT, check=False).returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("whole_group", [False, True])
async def test_ending_make_test_ends_its_processes(tmp_path: Path, whole_group: bool) -> None:
    file = tmp_path / "test_waits.py"
    file.write_text(TEST_FILE.replace("FOLDER", repr(str(tmp_path))))
    command = ["make", "test", f"TESTS={file}", "ARGS=-p no:cacheprovider", "WORKERS=1"]
    make = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    await eventually((tmp_path / "others").exists, what="the test runs")
    pids = started_pids(tmp_path)
    if whole_group:
        os.killpg(make.pid, signal.SIGTERM)
    else:
        make.terminate()
    assert await make.wait()
    # Make does not wait for the processes that it has forwarded the signal to.
    await eventually(lambda: not [pid for pid in pids if is_running(pid)], what="all have ended")
