"""``python -m cli.reference`` writes the generated part of docs/cli.md, from the commands' help texts."""

from cli.app import make_app
from local.paths import ROOT

PAGE = ROOT / "docs" / "cli.md"
MARK = "<!-- Below this line the page is written by `python -m cli.reference`. -->\n"


def page() -> str:
    """The text of docs/cli.md: the part written by hand, and the generated reference."""
    by_hand = PAGE.read_text().partition(MARK)[0]
    return f"{by_hand}{MARK}\n{reference()}"


def reference() -> str:
    """Each command with its options, in Markdown."""
    text = make_app().generate_docs()
    # The hand-written part covers what precedes the first command; the last one is the library's own.
    begin, end = text.index("\n## pipeline "), text.index("\n## pipeline --")
    return "\n".join(line.rstrip() for line in text[begin:end].splitlines()).strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
