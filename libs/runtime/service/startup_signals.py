"""Handles SIGTERM and SIGINT while a program is still importing its modules.

Nothing has been started at that time, so the process may end at once. As process 1 of a container it needs a handler for that:
the kernel drops signals without one, and the stop would take until the engine kills the container.
"""

import os
import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_stop_signals() -> None:
    """End the process with exit code 0 on SIGTERM or SIGINT, until the event loop installs its own handlers.

    A signal that was blocked before the program started (``env --block-signal``) is delivered now.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _exit(_number: int, _frame: FrameType | None) -> None:
    # Not sys.exit: an import in progress may catch the exception.
    os._exit(0)
