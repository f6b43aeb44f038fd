"""Fetches and commits a few records at a time instead of one by one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

# Some forty orders: with more, a transaction costs little for each of them, and no order has to wait.
LARGE_RESPONSE_BYTES = 8 * 1024
_KEPT_SHARE = 0.75

Fetch = Callable[[Any, int, Any], Awaitable[bool]]


class FetchPacing:
    """Sends the next fetch to a broker ``apart_s`` after the last one, or sooner the larger the last responses were.

    With some tens of orders a second each one would otherwise have a fetch and a transaction of its own, and these take
    nearly all of a replica's CPU time. A record that comes after a quiet time finds a long poll waiting, and is not delayed.

    Args:
        fetch: sends a fetch to a broker, and takes in the response: aiokafka's ``Fetcher._proc_fetch_request``.
        received_bytes: how many bytes of records have been received so far.
        apart_s: the time between two fetches after empty responses, in seconds; after a large one, there is none.
        monotonic_s: a monotonic clock, in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        fetch: Fetch,
        received_bytes: Callable[[], int],
        apart_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetch = fetch
        self._received_bytes = received_bytes
        self._apart_s = apart_s
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._next_fetch_s: dict[int, float] = {}  # by broker
        self._shares: dict[int, float] = {}  # by broker: of a large response, in the last few ones

    async def __call__(self, assignment: Any, broker: int, request: Any) -> bool:
        """Send ``request`` when it is due; returns whether there are new records to read."""
        wait_s = self._next_fetch_s.get(broker, 0.0) - self._monotonic_s()
        if wait_s > 0:
            try:
                await self._sleep(wait_s)
            except asyncio.CancelledError:
                return False  # as aiokafka's own: the partitions are revoked, or the consumer is closing
        began_s, before = self._monotonic_s(), self._received_bytes()
        has_records = await self._fetch(assignment, broker, request)
        share = min((self._received_bytes() - before) / LARGE_RESPONSE_BYTES, 1.0)
        # A fetch that follows a large response at once brings little. So that the next one is close, too, the share falls slowly.
        share = self._shares[broker] = max(share, _KEPT_SHARE * self._shares.get(broker, 0.0))
        self._next_fetch_s[broker] = began_s + self._apart_s * (1 - share)
        return has_records
