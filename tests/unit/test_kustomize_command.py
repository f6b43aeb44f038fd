"""How the tests of the manifests find Kustomize: in CI a machine without it is no reason to skip them."""

from pathlib import Path

import pytest

from tests.kubernetes.manifests import IMAGE, MANIFESTS, kustomize


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, still empty; in CI."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "1")
    return tmp_path


def add(programs: Path, name: str, exit_code: int = 0) -> None:
    program = programs / name
    program.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "command"), [("kubectl", ["kubectl", "kustomize"]), ("kustomize", ["kustomize", "build"])]
)
def test_an_installed_program_is_used(name: str, command: list[str], programs: Path) -> None:
    add(programs, "docker")
    add(programs, name)
    assert kustomize() == command


def test_without_one_its_image_is_used(programs: Path) -> None:
    add(programs, "docker")
    command = kustomize()
    assert command[:2] == ["docker", "run"]
    assert command[-2:] == [IMAGE, "build"]
    assert f"--volume={MANIFESTS}:{MANIFESTS}:ro" in command


def test_without_an_engine_that_answers_ci_fails(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(programs, "docker", exit_code=1)
    with pytest.raises(pytest.fail.Exception, match="CI needs kubectl, kustomize or a Docker engine"):
        kustomize()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception):
        kustomize()
