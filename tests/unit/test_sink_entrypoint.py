"""The sink container's entry script, as root: which folders and files it takes over, and which it does not change."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.services import ROOT

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root runs the complete script")
OWNER, GROUP = 12_345, 12_346


def run(folder: Path, *, refused: tuple[str, ...] = (), database: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script with a command that prints who it runs as; commands in ``refused`` fail as on a foreign file system."""
    commands = folder.parent / "commands"
    commands.mkdir(exist_ok=True)
    for name in refused:
        (commands / name).write_text(f"#!/bin/sh\necho {name}: Operation not permitted >&2\nexit 1\n")
        (commands / name).chmod(0o755)
    return subprocess.run(
        ["sh", str(ROOT / "services/sink/entrypoint.sh"), "sh", "-c", "echo $(id -u):$(id -g)"],
        env=os.environ
        | {
            "SINK_OUTPUT_PATH": str(folder / "metrics.json"),
            "SINK_DATABASE_URL": database or f"sqlite:///{folder}/metrics.db",
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


def test_files_with_the_right_owner_are_not_changed(folder: Path) -> None:
    (folder / "metrics.json").touch()
    for path in (folder, folder / "metrics.json"):
        os.chown(path, OWNER, GROUP)
    done = run(folder, refused=("chown", "chgrp", "chmod"))
    assert (done.returncode, done.stdout) == (0, f"{OWNER}:{GROUP}\n"), done.stderr


def test_a_file_of_an_earlier_run_as_another_user_is_taken_over(folder: Path) -> None:
    os.chown(folder, OWNER, GROUP)
    files = ("metrics.json.checkpoint", "metrics-2026-11-28T00-00Z--2026-11-28T23-59Z.json.gz")
    database = ("metrics.db", "metrics.db-wal", "metrics.db-shm")
    foreign = ("metrics-notes.txt", "metrics.db.backup")
    for name in (*files, *database, *foreign):
        (folder / name).touch()

    def not_taken_over() -> set[str]:
        found = {path.name: path.stat() for path in folder.iterdir()}
        return {name for name, status in found.items() if (status.st_uid, status.st_gid) != (OWNER, GROUP)}

    assert run(folder, database="postgresql://sink@host/metrics").stdout == f"{OWNER}:{GROUP}\n"
    assert not_taken_over() == {*database, *foreign}
    assert run(folder).stdout == f"{OWNER}:{GROUP}\n"
    assert not_taken_over() == {*foreign}


def test_a_file_that_cannot_be_taken_over_is_reported(folder: Path) -> None:
    os.chown(folder, OWNER, GROUP)
    (folder / "metrics.json").touch()
    done = run(folder, refused=("chown",))
    assert done.returncode
    assert "Operation not permitted" in done.stderr


def test_a_folder_of_root_is_made_writable_for_the_services_group_once(folder: Path) -> None:
    assert run(folder).stdout == "10001:10001\n"
    assert folder.stat().st_gid == 10_001
    assert run(folder, refused=("chown", "chgrp", "chmod")).stdout == "10001:10001\n"
