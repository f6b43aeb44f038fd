"""Asking again soon whether the last transaction is complete.

Between a commit's answer and its markers in all partitions the coordinator refuses the next transaction (KAFKA-5477).
That takes it a few milliseconds, but aiokafka waits 20 before it asks again, and no setting of its own changes that. To be
dropped when one does.
"""

import aiokafka
from aiokafka.producer import sender

from libs.runtime.lean_fetch import KNOWN_INSIDE

BACKOFF_S = 0.002


def ask_again_soon() -> None:
    """Shorten that wait for all producers of this process."""
    if aiokafka.__version__ == KNOWN_INSIDE:
        sender.BACKOFF_OVERRIDE = BACKOFF_S
