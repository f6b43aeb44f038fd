"""Each image of the Dockerfiles contains all modules that its program imports."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.services import ROOT

SERVICES = {
    "services/generator/Dockerfile": "services/generator/event_generator.py",
    "services/processor/Dockerfile": "services/processor/order_processor.py",
    "services/analytics/Dockerfile": "services/analytics/analytics_engine.py",
    "services/sink/Dockerfile": "services/sink/data_sink.py",
    "live/Dockerfile": "live/__main__.py",
    "cli/Dockerfile": "cli/__main__.py",
}


def copied(dockerfile: Path) -> list[Path]:
    """The files and folders of the repository that an image gets."""
    commands = re.findall(r"^COPY (?!--from)(.*)$", dockerfile.read_text(), re.MULTILINE)
    return [ROOT / source for command in commands for source in shlex.split(command)[:-1] if source[:2] != "--"]


def imported(file: Path) -> Iterator[Path]:
    """The repository's files that ``file`` may import, also later."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            path = ROOT / name.replace(".", "/")
            yield from (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())


def needed(program: Path) -> set[Path]:
    """All files of the repository that ``program`` imports, and those that they import."""
    found, left = {program}, [program]
    while left:
        new = set(imported(left.pop())) - found
        found |= new
        left += new
    return found


@pytest.mark.parametrize(("dockerfile", "program"), SERVICES.items())
def test_an_image_contains_all_that_its_program_imports(dockerfile: str, program: str) -> None:
    sources = copied(ROOT / dockerfile)
    missing = {file for file in needed(ROOT / program) if not any(file.is_relative_to(source) for source in sources)}
    assert not {str(file.relative_to(ROOT)) for file in missing}
