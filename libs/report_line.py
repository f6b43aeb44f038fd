"""Lines on standard output that a program can do without: it goes on if the terminal, or the reader of a pipe, is gone."""

import contextlib
import os
import sys


def report_line(text: str) -> None:
    """Print ``text`` at once, if that is possible."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def discard_unwritten() -> None:
    """Discard the text that could not be written. To be called at a program's end: Python writes the text again, and would fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
