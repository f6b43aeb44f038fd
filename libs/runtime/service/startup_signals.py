"""SIGTERM and SIGINT while a program is still importing what it needs.

Nothing has been started by then, so the process may end at once. As process 1 of a container it has to: there the kernel
drops a signal that has no handler, and the stop would last until the engine kills the container.
"""

import os
import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_stop_signals() -> None:
    """End the process with exit code 0 on SIGTERM or SIGINT, until the event loop has handlers of its own.

    A signal that was blocked before the program began (``env --block-signal``) is delivered now.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _exit(_number: int, _frame: FrameType | None) -> None:
    # Not sys.exit: an import that is under way may catch the exception.
    os._exit(0)
