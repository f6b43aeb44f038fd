"""A checkout works in any folder and with any umask, or reports at once why not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.errors import LocalModeError
from local.kafka_files import KafkaFiles
from local.paths import check_path
from tests.integration.services import ROOT

SCRIPTS = (
    "cli/entrypoint.sh",
    "local/prerequisites.sh",
    "local/setup.sh",
    "services/sink/entrypoint.sh",
    "test_pipeline.sh",
    ".ci/run",
)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_line_endings_are_fixed_by_gitattributes() -> None:
    assert set(SCRIPTS) <= set(git("ls-files").splitlines())
    for line in git("ls-files", "--eol").splitlines():
        about, _, path = line.partition("\t")
        in_repository, _, attributes = about.split(maxsplit=2)
        if path.endswith(".png"):
            assert "-text" in attributes, line
        else:
            assert "eol=lf" in attributes, line
            assert in_repository in {"i/lf", "i/none"}, line


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_scripts_run_in_a_clone_with_line_ending_conversion(tmp_path: Path) -> None:
    windows = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    git("clone", "--quiet", "--depth=1", *windows, ROOT.as_uri(), str(tmp_path / "clone"))
    for script in SCRIPTS:
        assert b"\r" not in (tmp_path / "clone" / script).read_bytes(), script
        subprocess.run(["bash", "-n", tmp_path / "clone" / script], check=True)


@pytest.mark.parametrize(
    "name",
    [
        "j\N{LATIN SMALL LETTER U WITH DIAERESIS}rgen",
        "\N{CYRILLIC SMALL LETTER ZHE}",
        "a,b",
        "50%",
        "a:b",
        "a;b",
        "a\\b",
        "a\nb",
        'a"b',
        "a*",
        "a#b",
    ],
)
def test_unsupported_checkout_paths_are_rejected_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(LocalModeError, match="cannot work in"):
        KafkaFiles(tmp_path / name, tmp_path, 1, 2).write()
    assert not (tmp_path / name).exists()
    environment = os.environ | {"LOCAL_DIR": str(tmp_path / name)}
    command = [sys.executable, "-m", "cli", "up", "--detach"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "LOCAL_DIR" in done.stderr


@pytest.mark.parametrize("name", ["a b", "it's", "a=b", "(1)", "a+b@c~d"])
def test_other_checkout_paths_are_accepted(tmp_path: Path, name: str) -> None:
    check_path(tmp_path / name)


def fake_python(folder: Path, name: str, version: tuple[int, int], *, has_venv: bool = True) -> None:
    """A command that reports this Python version."""
    if not has_venv:
        (folder / name).write_text(
            f"#!/bin/sh\ncase $2 in *venv*) exit 1 ;; *) echo {version[0]}.{version[1]} ;; esac\n"
        )
        (folder / name).chmod(0o755)
        return
    claims = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0); exec(sys.argv[1])"
    (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{claims}" "$2"\n')
    (folder / name).chmod(0o755)


def chosen(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "local/prerequisites.sh", "python"],
        cwd=ROOT,
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_version_with_wheels_is_preferred_to_a_newer_one(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", (3, 15))
    fake_python(tmp_path, "python3.13", (3, 13))
    assert chosen(tmp_path).stdout == f"{tmp_path}/python3.13\n"
    fake_python(tmp_path, "python3", (3, 14))
    assert chosen(tmp_path).stdout == f"{tmp_path}/python3\n"


def test_the_newest_supported_python_is_chosen(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", (3, 11))
    fake_python(tmp_path, "python3.12", (3, 12))
    assert chosen(tmp_path).stdout == f"{tmp_path}/python3.12\n"
    fake_python(tmp_path, "python", (3, 13))
    assert chosen(tmp_path).stdout == f"{tmp_path}/python\n"
    fake_python(tmp_path, "python3.14", (3, 14), has_venv=False)
    assert chosen(tmp_path).stdout == f"{tmp_path}/python\n", "a Python that cannot create environments is skipped"


def test_a_python_without_venv_is_reported_if_there_is_no_other(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", (3, 13), has_venv=False)
    done = chosen(tmp_path)
    assert done.returncode == 1
    assert "the venv module of Python 3.13 (python3)" in done.stderr


@pytest.mark.parametrize("version", [(3, 15), (3, 10)])
def test_without_a_supported_python_the_supported_versions_are_named(tmp_path: Path, version: tuple[int, int]) -> None:
    fake_python(tmp_path, "python3", version)
    done = chosen(tmp_path)
    assert done.returncode == 1
    assert "Python 3.11 to 3.14" in done.stderr
    assert f"found 3.{version[1]} (python3)" in done.stderr
