"""Replaces connections before their authenticated session expires.

A broker with ``connections.max.reauth.ms`` reports the lifetime of a session at login, and closes a connection that is used
after it (KIP-368). aiokafka 0.14 cannot re-authenticate on the same connection, and ignores the lifetime.

Private parts of aiokafka that are used: ``AIOKafkaConnection._requests``, the requests without a response, and
``_protocol``, which is None before there is a socket.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.admin import SaslAuthenticateRequest

from libs.runtime.timing import CONNECT_TIMEOUT_S

# Kafka's own clients re-authenticate after 85 to 95 % of the session. Here a request in progress has to end first.
_USED_FOR = 0.8
_CLOSED_WITHIN_S = 1.0


async def close_at_once(connection: AIOKafkaConnection) -> None:
    """Close, and wait a moment until the socket is closed: the event loop may end next."""
    closed = connection.close()
    if closed is not None:
        await asyncio.wait({closed}, timeout=_CLOSED_WITHIN_S)


class SessionConnection(AIOKafkaConnection):
    """Reports itself as closed once most of its session is over and no response is awaited: the client then reconnects.

    Nothing is lost, since no request is in progress. A connection that always has one is left for the broker to close.
    """

    def __init__(self, host: str, port: int, **options: Any) -> None:
        super().__init__(host, port, **options)  # type: ignore[no-untyped-call]  # as all that aiokafka has here
        self._replace_at_s = float("inf")
        self._bootstraps = options.get("on_close") is None

    async def open(self) -> None:
        """Connect and log in; after an error the socket is closed.

        Raises:
            OSError, KafkaError: as aiokafka has it; TimeoutError after ``CONNECT_TIMEOUT_S``.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self.connect()  # type: ignore[no-untyped-call]
        except Exception:
            if self._protocol is not None:
                await close_at_once(self)
            raise

    def connected(self) -> bool:
        connected = bool(super().connected())  # type: ignore[no-untyped-call]
        if connected and not self._requests and time.monotonic() >= self._replace_at_s:
            self.close(reason=CloseReason.IDLE_DROP)  # type: ignore[no-untyped-call]
            return False
        return connected

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        answer: Awaitable[Any] = super().send(request, expect_response)  # type: ignore[no-untyped-call]
        if isinstance(request, SaslAuthenticateRequest):
            answer = self._noted(answer)
        return self._closed_if_cancelled(answer) if self._bootstraps and expect_response else answer

    async def _closed_if_cancelled(self, answer: Awaitable[Any]) -> Any:
        # A client keeps its connections, but this one only after the answer [aiokafka 0.14: client.bootstrap].
        try:
            return await answer
        except asyncio.CancelledError:
            self.close()  # type: ignore[no-untyped-call]
            raise

    async def _noted(self, answer: Awaitable[Any]) -> Any:
        asked_s = time.monotonic()
        response = await answer
        lifetime_ms = getattr(response, "session_lifetime_ms", 0)  # since version 1; 0: no end
        if lifetime_ms > 0:
            self._replace_at_s = asked_s + _USED_FOR * lifetime_ms / 1000
        return response
