"""The signals that end a command, besides Ctrl-C."""

import signal


def end_signals() -> list[signal.Signals]:
    """SIGTERM and, from a closed terminal, SIGHUP; without those that are ignored, as `nohup` does with SIGHUP."""
    return [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
