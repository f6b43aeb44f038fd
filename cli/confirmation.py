"""Whether a person can be asked before a command changes anything."""

import sys

from cli.errors import UsageError


def check_can_ask(yes: bool, advice: str) -> None:
    """Raise UsageError if a confirmation is needed (not ``yes``) and there is no terminal to ask for it."""
    if not (yes or sys.stdin.isatty()):
        raise UsageError("cannot ask for confirmation without a terminal", advice=advice)
