"""What all tests share."""

import signal

from hypothesis import settings

# A slow machine is no failure.
settings.register_profile("pipeline", deadline=None)
settings.load_profile("pipeline")

# A shell starts what runs in its background with SIGINT ignored, which every child inherits; the programs that are
# tested with Ctrl-C have to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
