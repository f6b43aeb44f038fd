"""Asks a person before a program changes anything."""

import sys


def confirmed(question: str) -> bool:
    """Ask; only yes is yes. The end of the input (Ctrl-D) is no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        sys.stdout.write("\n")
        return False
