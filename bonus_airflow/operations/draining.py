"""Stops the services so that no records are left between them."""

import time
from collections.abc import Callable

from bonus_airflow.operations.errors import OperationError

_DRAINED_WITHIN_S = 180.0
_POLL_S = 1.0


def stop_in_order(stop: Callable[..., None], left_to_drain: Callable[[], list[str]]) -> None:
    """Stop the processor, and, once the analytics has read all of its output, the other services.

    A processor writes watermarks even without orders. If both are stopped at the same time, the analytics may leave some of them
    unread, and the verification reports a lag.

    Raises:
        OperationError: something is left after some minutes.
    """
    stop("generator", "processor")
    deadline_s = time.monotonic() + _DRAINED_WITHIN_S
    while left := left_to_drain():
        if time.monotonic() > deadline_s:
            raise OperationError(f"not drained within {_DRAINED_WITHIN_S:.0f} s: {'; '.join(left)}")
        time.sleep(_POLL_S)
    stop("analytics", "sink")
