"""Broadcasts the newest message to any number of readers, also as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

from aiohttp import hdrs, web

from libs.runtime.http_server.connections import SEND_TIMEOUT_S
from libs.runtime.http_server.responses import plain_text
from libs.runtime.http_server.server import Handler

# Event streams have no end. The server's other connections are left for health checks, Prometheus and the page's files.
MAX_STREAMS = 100

_RECONNECT_MS = 1_000


class Feed:
    """Keeps only the newest message: a slow reader skips outdated ones, so nothing is queued for it."""

    def __init__(self) -> None:
        self._number = 0
        self._message = b""
        self._changed = asyncio.Event()
        self._closed = False

    def publish(self, message: bytes) -> None:
        self._number += 1
        self._message = message
        self._wake_readers()

    def close(self) -> None:
        """End every reader's iteration."""
        self._closed = True
        self._wake_readers()

    async def messages(self) -> AsyncIterator[bytes]:
        """The newest message at once, if there is one, and then newer ones; messages that the reader is too slow for are skipped."""
        number = 0
        while not self._closed:
            if self._number == number:
                await self._changed.wait()
                continue
            number = self._number
            yield self._message

    def _wake_readers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def event_stream(feed: Feed) -> Handler:
    """Server-sent events with the messages of ``feed``, for ``MAX_STREAMS`` clients; further ones get a 503.

    A client that does not read a message in time is disconnected.
    """
    open_streams = 0

    async def limited(request: web.Request) -> web.StreamResponse:
        nonlocal open_streams
        if open_streams >= MAX_STREAMS:
            response = plain_text(HTTPStatus.SERVICE_UNAVAILABLE, "too many event streams")
            response.force_close()  # the page asks again, and keeps no connection in the meantime
            return response
        open_streams += 1
        try:
            return await stream(request)
        finally:
            open_streams -= 1

    async def stream(request: web.Request) -> web.StreamResponse:
        # The last header keeps nginx from buffering events.
        headers = {hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        with contextlib.suppress(ConnectionError):
            await response.write(b"retry: %d\n\n" % _RECONNECT_MS)
            async for message in feed.messages():
                try:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await response.write(b"data: %b\n\n" % message)
                except TimeoutError:
                    if request.transport:
                        request.transport.abort()
                    break
        return response

    return limited
