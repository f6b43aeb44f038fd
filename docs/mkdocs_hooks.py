"""What MkDocs lacks for Markdown that is read in the repository, too: links to source files, and the list of decisions."""

import logging
import os
import re
from pathlib import Path
from typing import Any

log = logging.getLogger("mkdocs.hooks")  # MkDocs counts its warnings: they fail a strict build

_ROOT = Path(__file__).resolve().parents[1]
_DOCS = _ROOT / "docs"
_FENCE = re.compile(r"(^```.*?^```[^\S\n]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Let links that leave ``docs/`` lead to DOCS_SOURCE_URL, or be text; one to a file that is not there is a warning."""
    folder = Path(page.file.abs_src_path).parent

    def rewritten(link: re.Match[str]) -> str:
        text, target = link["text"], link["target"]
        if re.match(r"[a-z]+:|#", target):
            return link[0]
        path = (folder / target.partition("#")[0]).resolve()
        if path == _DOCS / "decisions":
            return f"[{text}]({os.path.relpath(path / 'README.md', folder)})"
        if path.is_relative_to(_DOCS) and not path.is_dir():
            return link[0]
        if not path.exists() or not path.is_relative_to(_ROOT):
            log.warning("%s: a link to %s, which does not exist", page.file.src_uri, target)
        source = os.environ.get("DOCS_SOURCE_URL", "").rstrip("/")
        return f"[{text}]({source}/{path.relative_to(_ROOT).as_posix()})" if source else text

    pieces = _FENCE.split(markdown)
    markdown = "".join(piece if piece.startswith("```") else _LINK.sub(rewritten, piece) for piece in pieces)
    if page.file.src_uri == "decisions/README.md":
        markdown += "\n" + "\n".join(map(_entry, sorted((_DOCS / "decisions").glob("0*.md"))))
    return markdown


def _entry(decision: Path) -> str:
    title = decision.read_text("utf-8").partition("\n")[0].removeprefix("# ")
    return f"- [{title.replace('. ', ': ', 1)}]({decision.name})"
