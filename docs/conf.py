"""The documentation site, from the same Markdown that is read in the repository: `make docs` writes it to site/.

With DOCS_SOURCE_URL (such as https://host/owner/repository/blob/main) links to source files lead there; without it they
are text.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).resolve().parent
_ROOT = _DOCS.parent
sys.path.insert(0, str(_ROOT))

from libs.version import VERSION  # noqa: E402

project = "Real-time order pipeline"
release = VERSION
copyright = ""  # noqa: A001 - Sphinx names it so
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_enable_extensions = ["html_image"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_copyright = False

_FENCE = re.compile(r"(^```.*?^```[^\S\n]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")


def _lead_to_the_repository(app: Any, page: str, source: list[str]) -> None:
    """Let links that leave ``docs/`` lead to DOCS_SOURCE_URL, or be text. ``source`` is the page's Markdown."""
    folder = Path(app.env.doc2path(page)).parent
    url = os.environ.get("DOCS_SOURCE_URL", "").rstrip("/")

    def rewritten(link: re.Match[str]) -> str:
        text, target = link["text"], link["target"]
        path = (folder / target.partition("#")[0]).resolve()
        if re.match(r"[a-z]+:|#", target) or not path.exists():
            return link[0]  # Sphinx tells of what is missing
        if path == _DOCS / "decisions":
            return f"[{text}]({os.path.relpath(path / 'README.md', folder)})"
        if path.is_relative_to(_DOCS) and path.is_file():
            return link[0]
        return f"[{text}]({url}/{path.relative_to(_ROOT).as_posix()})" if url else text

    pieces = _FENCE.split(source[0])
    source[0] = "".join(piece if piece.startswith("```") else _LINK.sub(rewritten, piece) for piece in pieces)


def setup(app: Any) -> None:
    """Sphinx calls it."""
    app.connect("source-read", _lead_to_the_repository)
