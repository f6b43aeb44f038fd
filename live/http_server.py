"""A small HTTP/1.1 server: GET and HEAD of what is known in advance, and server-sent events.

One request a connection. Everything is bounded: the connections, what a request may hold, and how long a client may take
to ask or to read. A path is looked up as it stands, so none leads into the file system.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

from live.feed import Feed

_MAX_CONNECTIONS = 128
_MAX_REQUEST_BYTES = 16 * 1024
_REQUEST_TIMEOUT_S = 10.0
_SEND_TIMEOUT_S = 10.0
_RECONNECT_MS = 1_000

_HEADERS = (
    # Nothing but what this server sends may run, be shown or be asked for, nor may another page frame it.
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n"
)


class Response(NamedTuple):
    """What a request is answered with."""

    content_type: str
    body: bytes
    status: HTTPStatus = HTTPStatus.OK


Route = Callable[[], Response]


class HttpServer:
    """Serves until the ``async with`` block ends, which also ends the connections.

    Args:
        routes: what answers, by path.
        events: what is sent as server-sent events, by path.
    """

    def __init__(self, routes: Mapping[str, Route], events: Mapping[str, Feed]) -> None:
        self._routes = routes
        self._events = events
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one where ``port`` is 0. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=_MAX_REQUEST_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= 2 * _MAX_CONNECTIONS:
            writer.transport.abort()  # too many even to be told so
            return
        client = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # drain() then waits until all has been sent
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # close() would wait for a client that does not read
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            await _send(writer, _told(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long"))
            return
        method, _, target = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path, _, version = target.partition(" ")
        path = path.partition("?")[0]
        if len(self._clients) > _MAX_CONNECTIONS:
            await _send(writer, _told(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections"))
        elif not version.startswith("HTTP/1."):
            await _send(writer, _told(HTTPStatus.BAD_REQUEST, "not an HTTP/1 request"))
        elif path not in self._routes and path not in self._events:
            await _send(writer, _told(HTTPStatus.NOT_FOUND, "not found"), head=method == "HEAD")
        elif method not in {"GET", "HEAD"}:
            await _send(writer, _told(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD"), more="Allow: GET, HEAD\r\n")
        elif path in self._routes:
            await _send(writer, self._routes[path](), head=method == "HEAD")
        else:
            await _send(writer, Response("text/event-stream", b""), streamed=True)
            if method == "GET":
                await _stream(writer, self._events[path])


async def _stream(writer: asyncio.StreamWriter, feed: Feed) -> None:
    writer.write(b"retry: %d\n\n" % _RECONNECT_MS)
    number = 0
    while True:
        number, message = await feed.after(number)
        writer.write(b"data: %b\n\n" % message)
        await _sent(writer)


def _told(status: HTTPStatus, text: str) -> Response:
    return Response("text/plain; charset=utf-8", f"{text}\n".encode(), status)


async def _send(
    writer: asyncio.StreamWriter, response: Response, *, head: bool = False, streamed: bool = False, more: str = ""
) -> None:
    length = "" if streamed else f"Content-Length: {len(response.body)}\r\n"
    status = f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
    writer.write(f"{status}Content-Type: {response.content_type}\r\n{length}{more}{_HEADERS}\r\n".encode())
    if not head:
        writer.write(response.body)
    await _sent(writer)


async def _sent(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(_SEND_TIMEOUT_S):
        await writer.drain()
