"""Output of commands: results go to standard output, everything else to standard error."""

import json
import sys
from typing import Any

from rich.console import Console, RenderableType

messages = Console(stderr=True, markup=False, emoji=False)
"""For progress and notes; a status line is drawn only on a terminal."""

_WIDTH_IN_A_FILE = 200


def print_json(value: Any) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def console_for(width_in_a_file: int) -> Console:
    """Standard output. Cells and titles are text: a name in them may look like Rich's markup, as an IPv6 address does."""
    width = None if sys.stdout.isatty() else width_in_a_file
    return Console(width=width, markup=False, emoji=False)


def print_table(table: RenderableType, width_in_a_file: int = _WIDTH_IN_A_FILE) -> None:
    """A table; in a file or a pipe it is wide, since folded lines are hard to search."""
    console_for(width_in_a_file).print(table)


def print_line(text: str) -> None:
    """Print a line unchanged, without colours or line folding."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
