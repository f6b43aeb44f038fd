"""Containers that a test run has started end with it, however it ends."""

import asyncio
import subprocess
from pathlib import Path

from tests.compose.project import docker, require_engine
from tests.integration.services import ROOT, eventually

# The test starts one container, and then waits to be ended.
TEST_FILE = """
import time
from pathlib import Path
from tests.compose.container_cleanup import project_name
from tests.compose.project import Project

def test_that_waits():
    folder = Path(FOLDER)
    project = Project(project_name("ended"), 1, folder, {}, java=("zookeeper",))
    with project.up("zookeeper", directory=folder / "unused"):
        (folder / "name.new").write_text(project.name)
        (folder / "name.new").rename(folder / "name")
        time.sleep(600)
"""


def resources(project: str) -> list[str]:
    """What the engine has of a project."""
    return [
        line
        for command in (
            ("container", "ls", "--all", "--format", "container {{.Names}}"),
            ("network", "ls", "--format", "network {{.Name}}"),
            ("volume", "ls", "--format", "volume {{.Name}}"),
            ("image", "ls", "--format", "image {{.Repository}}"),
        )
        for line in docker(*command).splitlines()
        if project in line
    ]


async def test_ending_make_test_removes_its_containers(tmp_path: Path) -> None:
    require_engine()
    file = tmp_path / "test_waits.py"
    file.write_text(TEST_FILE.replace("FOLDER", repr(str(tmp_path))))
    command = ["make", "test", f"TESTS={file}", "ARGS=-p no:cacheprovider", "WORKERS=1"]
    make = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    await eventually((tmp_path / "name").exists, what="the container runs")
    project = (tmp_path / "name").read_text()
    before = resources(project)
    assert {line.split()[0] for line in before} >= {"container", "network"}
    make.terminate()
    assert await make.wait()
    await eventually(lambda: not resources(project), what=f"{before} are removed")
