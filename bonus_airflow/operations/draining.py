"""Stopping the services without leaving anything between them."""

import time
from collections.abc import Callable

from bonus_airflow.operations.errors import OperationError

_DRAINED_WITHIN_S = 180.0
_POLL_S = 1.0


def stop_in_order(stop: Callable[..., None], left_to_drain: Callable[[], list[str]]) -> None:
    """Stop the processor, then, once the analytics has read what that wrote last, the rest.

    A processor writes watermarks also without orders. Stopped at the same time, the analytics leaves some of them unread, and the
    verification finds a stage that is behind.

    Raises:
        OperationError: something is left after minutes.
    """
    stop("generator", "processor")
    deadline_s = time.monotonic() + _DRAINED_WITHIN_S
    while left := left_to_drain():
        if time.monotonic() > deadline_s:
            raise OperationError(f"not drained within {_DRAINED_WITHIN_S:.0f} s: {'; '.join(left)}")
        time.sleep(_POLL_S)
    stop("analytics", "sink")
