"""The runtime's public interface matches docs/runtime.md, and an example needs nothing else from ``libs``."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from libs.runtime import api

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/runtime.md").read_text()
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "__init__.py")


def members_in(heading: str) -> set[str]:
    """The names in the first column of the table below a heading of the page."""
    _, found, section = PAGE.partition(f"\n## {heading}\n")
    assert found, heading
    table = section.partition("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_the_page_has_every_name_of_the_public_interface() -> None:
    assert members_in("Names") == set(api.__all__)


@pytest.mark.parametrize("kind", [api.Stage, api.Topic, api.Context, api.Progress])
def test_the_page_has_every_field(kind: type) -> None:
    assert members_in(kind.__name__) == {field.name for field in fields(kind)}


@pytest.mark.parametrize("kind", [api.PartitionLogic, api.Output, api.Record, api.Tally])
def test_the_page_has_every_member(kind: type) -> None:
    assert members_in(kind.__name__) == public(kind)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_imports_only_the_public_interface(path: Path) -> None:
    project = {folder.name for folder in ROOT.iterdir() if folder.is_dir()}
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    assert {name for name in imported if name.partition(".")[0] in project} == {"libs.runtime.api"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 100
