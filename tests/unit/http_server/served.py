"""An HttpServer with a page of 3 MB and an event stream, and clients that write to it byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.responses import content
from libs.runtime.http_server.server import Handler, HttpServer
from live.feed import Feed, event_stream

PAGE = b"x" * 3_000_000


class Answer(NamedTuple):
    status: int
    head: str
    body: bytes


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: str, *, head: bool = False) -> Answer:
        """The response to a request; the connection stays open if the server keeps it open."""
        self.writer.write(request.encode("latin-1"))
        return await self.answer(head=head)

    async def answer(self, *, head: bool = False) -> Answer:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((int(line[16:]) for line in text.splitlines() if line.startswith("Content-Length: ")), 0)
        body = b"" if head else await self.reader.readexactly(length)
        return Answer(int(text.split()[1]), text, body)

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection; fails if it sends anything before."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    def stop_reading(self) -> None:
        self.reader._transport.pause_reading()  # type: ignore[attr-defined]


class Served:
    """The server under test, its port, and the feed that ``/events`` sends."""

    def __init__(self, server: HttpServer, port: int, feed: Feed) -> None:
        self.server = server
        self.port = port
        self.feed = feed
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=2_000_000))
        self._clients.append(client)
        return client

    async def ask(self, request: str, host: str | None = "localhost") -> Answer:
        """The response on a new connection with `Connection: close`; ``host`` None sends no Host header."""
        named = "" if host is None else f"Host: {host}\r\n"
        client = await self.connect()
        client.writer.write(
            request.replace(" HTTP/1.1\r\n", f" HTTP/1.1\r\n{named}Connection: close\r\n", 1).encode("latin-1")
        )
        head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]), head.decode("latin-1"), body)

    async def get(self, path: str, host: str | None = "localhost") -> Answer:
        return await self.ask(f"GET {path} HTTP/1.1\r\n\r\n", host)

    async def listen(self) -> Client:
        """A client of the event stream, by HTTP/1.0, which has no chunked encoding."""
        client = await self.connect()
        client.writer.write(b"GET /events HTTP/1.0\r\n\r\n")
        assert b"200 OK" in await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readuntil(b"\n\n") == b"retry: 1000\n\n"
        return client

    async def close(self) -> None:
        for client in self._clients:
            client.writer.close()


def routes_of(feed: Feed) -> dict[str, Handler]:
    async def page(_: web.Request) -> web.StreamResponse:
        return content("text/plain", PAGE)

    async def ill(_: web.Request) -> web.StreamResponse:
        return content("text/plain", b"ill", HTTPStatus.SERVICE_UNAVAILABLE)

    async def broken(_: web.Request) -> web.StreamResponse:
        raise ValueError("a secret of the inside")

    return {"/": page, "/ill": ill, "/broken": broken, "/events": event_stream(feed)}


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Served]:
    """A server with ``options`` of HttpServer."""
    feed = Feed()
    async with HttpServer(routes_of(feed), **options) as server:
        server.on_stop(feed.close)
        served = Served(server, await server.start(listening_socket("127.0.0.1", 0)), feed)
        try:
            yield served
        finally:
            await served.close()
