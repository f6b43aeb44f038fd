"""The dependencies in pyproject.toml are pinned, and each installation has only what it needs."""

import re
import tomllib
from typing import Any

from tests.integration.services import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: list[Any]) -> set[str]:
    return {re.split(r"[\[<>=; ]", each)[0] for each in requirements if isinstance(each, str)}


def pinned(file: str) -> dict[str, str]:
    text = (ROOT / file).read_text()
    found = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    assert text.count("--hash=sha256:") > len(found), "each is pinned with its hashes"
    return found


SERVICES = pinned("requirements.txt")
CLI = pinned("requirements-cli.txt")
DEV = pinned("requirements-dev.txt")
GROUPS = PROJECT["dependency-groups"]
MAKEFILE = (ROOT / "Makefile").read_text()
COMMAND_ONLY = set(re.findall(r"^COMMAND_ONLY = (.*)$", MAKEFILE, re.MULTILINE)[0].split())


def test_every_declared_dependency_is_pinned() -> None:
    dependencies = names(PROJECT["project"]["dependencies"])
    assert dependencies - COMMAND_ONLY <= SERVICES.keys()
    assert dependencies | names(GROUPS["build"]) <= CLI.keys()
    assert names(GROUPS["dev"]) | names(GROUPS["parquet"]) <= DEV.keys()
    assert names(GROUPS["parquet"]) <= pinned("services/sink/requirements-parquet.txt").keys()
    assert names(GROUPS["readers"]) <= pinned("requirements-readers.txt").keys()


def test_requirements_files_that_are_installed_together_agree() -> None:
    assert SERVICES.items() <= CLI.items()
    for other in (DEV, pinned("services/sink/requirements-parquet.txt")):
        assert {name: other[name] for name in CLI.keys() & other.keys()}.items() <= CLI.items()


def test_runtime_requirements_have_no_development_dependencies() -> None:
    assert not CLI.keys() & (names(GROUPS["dev"]) | names(GROUPS["parquet"]) | names(GROUPS["readers"]))
    setup = (ROOT / "local" / "setup.sh").read_text()
    assert "requirements='-r requirements-cli.txt'\n" in setup
    assert re.search(r"^run: machine \.venv/\.installed \$\(PARQUET\) ##", MAKEFILE, re.MULTILINE)


def test_service_images_have_no_dependencies_of_the_command() -> None:
    assert COMMAND_ONLY
    assert not SERVICES.keys() & COMMAND_ONLY


def test_the_build_backend_is_pinned() -> None:
    """`pip install --no-build-isolation` does not download it."""
    assert names(PROJECT["build-system"]["requires"]) <= CLI.keys()
