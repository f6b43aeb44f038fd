"""The sink container's entry script, as root: which folders and files it takes over, and which it does not change."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.services import ROOT

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root runs the complete script")
OWNER, GROUP = 12_345, 12_346


def run(folder: Path, *, refused: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the script with a command that prints who it runs as; commands in ``refused`` fail as on a foreign file system."""
    commands = folder.parent / "commands"
    commands.mkdir(exist_ok=True)
    for name in refused:
        (commands / name).write_text(f"#!/bin/sh\necho {name}: Operation not permitted >&2\nexit 1\n")
        (commands / name).chmod(0o755)
    return subprocess.run(
        ["sh", str(ROOT / "services/sink/entrypoint.sh"), "sh", "-c", "echo $(id -u):$(id -g)"],
        env=os.environ
        | {"SINK_OUTPUT_PATH": str(folder / "metrics.json"), "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
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
    names = ("metrics.json.checkpoint", "metrics-2026-11-28T00-00Z--2026-11-28T23-59Z.json.gz", "metrics-notes.txt")
    for name in names:
        (folder / name).touch()
    assert run(folder).stdout == f"{OWNER}:{GROUP}\n"
    owners = [(found.st_uid, found.st_gid) for found in ((folder / name).stat() for name in names)]
    assert owners == [(OWNER, GROUP), (OWNER, GROUP), (os.getuid(), os.getgid())], "not a foreign file"


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
