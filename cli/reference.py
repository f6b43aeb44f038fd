"""``python -m cli.reference`` writes the part of docs/cli.md that is made of the commands themselves."""

from cli.app import ROOT, make_app

PAGE = ROOT / "docs" / "cli.md"
MARK = "<!-- Below this line the page is written by `python -m cli.reference`. -->\n"


def page() -> str:
    """docs/cli.md as it has to be: what is written by hand, and the reference."""
    by_hand = PAGE.read_text().partition(MARK)[0]
    return f"{by_hand}{MARK}\n{reference()}"


def reference() -> str:
    """Each command with its options, in Markdown."""
    text = make_app().generate_docs()
    # What is before the first command stands above in other words; the last one is the library's own.
    begin, end = text.index("\n## pipeline "), text.index("\n## pipeline --")
    return "\n".join(line.rstrip() for line in text[begin:end].splitlines()).strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
