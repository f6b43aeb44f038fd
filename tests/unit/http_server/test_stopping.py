"""Stopping the server: responses in progress are finished within a time limit, and no signal handlers are installed."""

import asyncio
import contextlib
import os
import signal

import aiohttp

from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.server import HttpServer
from live.feed import Feed
from tests.integration.services import eventually
from tests.unit.http_server.served import PAGE, routes_of, serving


async def test_an_event_stream_ends_with_a_complete_chunked_body() -> None:
    """A client that reads chunks sees the end of the body, not a broken connection."""
    feed = Feed()
    async with HttpServer(routes_of(feed)) as server, aiohttp.ClientSession() as session:
        server.on_stop(feed.close)
        port = await server.start(listening_socket("127.0.0.1", 0))
        feed.publish(b"1")
        response = await session.get(f"http://127.0.0.1:{port}/events")
        assert response.headers["Content-Type"] == "text/event-stream"
        assert await response.content.readuntil(b"data: 1\n\n")
        stopping = asyncio.ensure_future(server.__aexit__(None, None, None))
        assert await response.content.read() == b""
        await stopping


async def test_idle_and_slow_connections_do_not_delay_the_stop() -> None:
    async with serving(stop_timeout_s=0.1) as served:
        idle, half, stalled, listener = [await served.connect() for _ in range(4)]
        await idle.ask("GET /ill HTTP/1.1\r\nHost: localhost\r\n\r\n")
        half.writer.write(b"GET / HT")
        stalled.stop_reading()
        stalled.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
        listener.writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await listener.reader.readuntil(b"retry: 1000\n\n")
        await eventually(lambda: served.server.connections == 4)
        await served.server.__aexit__(None, None, None)
        assert served.server.connections == 0
        assert await idle.is_closed()
        assert await half.is_closed()
        stalled.reader._transport.resume_reading()  # type: ignore[attr-defined]
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            while chunk := await stalled.reader.read(1_000_000):
                received += chunk
        assert len(received) < len(PAGE) * received.count(b"HTTP/1.1 200 "), "the last response was cut, not flushed"


async def test_a_response_in_progress_is_finished() -> None:
    async with serving(stop_timeout_s=60) as served:
        client = await served.connect()
        client.stop_reading()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await eventually(lambda: served.server.connections == 1)
        stopping = asyncio.ensure_future(served.server.__aexit__(None, None, None))
        await asyncio.wait({stopping}, timeout=0.2)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.answer()).body) == 3_000_000
        await stopping


async def test_it_installs_no_signal_handlers() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        async with serving() as served:
            await served.get("/ill")
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
            assert (await served.get("/ill")).status == 503, "the signal has ended nothing"
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
