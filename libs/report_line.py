"""Lines on standard output that a program can do without: it goes on if the terminal, or the reader of a pipe, is gone."""

import contextlib
import errno
import os
import sys

_NOBODY_READS = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a terminal that was closed


def report_line(text: str) -> None:
    """Print ``text`` at once, if that is possible."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def exit_code_after_output(exit_code: int) -> int:
    """Write what is left of the output, and return the program's exit code: 1 instead of 0 if that fails, as on a full disk.

    If nobody reads the output any more, the text is discarded. To be called at a program's end: Python would write the text again, and
    fail with exit code 120.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno not in _NOBODY_READS:
            sys.stderr.write(f"the output could not be written: {error}\n")
            return exit_code or 1
    return exit_code
