"""Every relative link in the repository's Markdown leads to a file, and to a heading if it names one."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.integration.services import ROOT

_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)


def pages() -> list[Path]:
    """All Markdown files except those in folders that are not part of the repository."""
    found = (path for path in ROOT.rglob("*.md"))
    return sorted(path for path in found if not _is_foreign(path.relative_to(ROOT)))


def _is_foreign(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.parts[0] in {"output", "site"}


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_pages_are_found() -> None:
    assert {"README.md", "docs/architecture.md"} <= {page.relative_to(ROOT).as_posix() for page in pages()}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_link_targets_exist(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            broken.append(target)
    assert not broken
