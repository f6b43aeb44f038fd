"""Limits for slow clients, and for the number of clients."""

import asyncio

import pytest

from libs.runtime.http_server import connections
from libs.runtime.http_server.server import MAX_CONNECTIONS
from live import feed as live_feed
from tests.integration.services import eventually
from tests.unit.http_server.served import PAGE, Served, serving


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (connections, "REQUEST_TIMEOUT_S"),
        (connections, "SEND_TIMEOUT_S"),
        (live_feed, "SEND_TIMEOUT_S"),
    ):
        monkeypatch.setattr(module, name, 0.3)


async def no_connection(served: Served) -> None:
    await eventually(lambda: served.server.connections == 0, what="the connection is closed")


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("begun", ["", "GET / HT", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
async def test_a_client_that_does_not_finish_its_request_is_disconnected(begun: str) -> None:
    async with serving() as served:
        client = await served.connect()
        client.writer.write(begun.encode())
        assert await client.is_closed()
        await no_connection(served)


@pytest.mark.usefixtures("short_timeouts")
async def test_a_client_that_sends_a_byte_at_a_time_is_disconnected() -> None:
    """Slowloris: each byte arrives in time, the complete request never."""
    async with serving() as served:
        client = await served.connect()
        closed = asyncio.ensure_future(client.is_closed())
        while not closed.done():
            client.writer.write(b"x")
            await asyncio.wait({closed}, timeout=0.02)
        await no_connection(served)


@pytest.mark.usefixtures("short_timeouts")
async def test_a_client_with_an_incomplete_second_request_is_disconnected() -> None:
    async with serving() as served:
        client = await served.connect()
        assert (await client.ask("GET /ill HTTP/1.1\r\nHost: localhost\r\n\r\n")).body == b"ill"
        client.writer.write(b"GET / HT")
        assert await client.is_closed()
        await no_connection(served)


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("begin", ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "nonsense\r\n\r\n"])
async def test_a_client_that_does_not_read_is_disconnected(begin: str) -> None:
    async with serving() as served:
        client = await served.connect()
        client.stop_reading()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8 + begin.encode())
        await no_connection(served)


@pytest.mark.usefixtures("short_timeouts")
async def test_an_event_listener_that_does_not_read_is_disconnected_without_delaying_others() -> None:
    async with serving() as served:
        stalled, reading = await served.listen(), await served.listen()
        stalled.stop_reading()
        size = 0
        for number in range(30):
            served.feed.publish(b"x" * 1_000_000 + b"%d" % number)
            size += len(await reading.reader.readuntil(b"\n\n"))
        assert size > 30_000_000
        await eventually(lambda: served.server.connections == 1, what="the stalled listener is disconnected")


async def test_a_disconnected_event_listener_leaves_nothing_behind() -> None:
    async with serving() as served:
        client = await served.listen()
        client.writer.close()
        await no_connection(served)


async def test_a_response_is_finished_once_the_kernel_has_all_of_it() -> None:
    """Otherwise the unread rest of a body would keep a connection that is about to be closed open without a time limit."""
    async with serving() as served:
        await served.connect()
        await eventually(lambda: served.server.connections == 1)
        server = served.server._runner.server
        assert server
        [connection] = server.connections
        assert connection.transport
        assert connection.transport.get_write_buffer_limits() == (0, 0)


async def test_connections_beyond_the_limit_get_503_and_many_more_are_closed() -> None:
    async with serving(max_connections=2) as served:
        listeners = [await served.listen() for _ in range(2)]
        answer = await served.get("/")
        assert answer.status == 503
        assert "Connection: close" in answer.head
        idle = [await served.connect() for _ in range(31)]
        await eventually(lambda: served.server.connections == 33)
        assert (await served.get("/")).status == 503
        one_more = await served.connect()
        await eventually(lambda: served.server.connections == 34)
        refused = await served.connect()
        refused.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await refused.is_closed(), "without an answer"
        for client in (*idle, one_more, listeners[0]):
            client.writer.close()
        await eventually(lambda: served.server.connections == 1)
        assert (await served.get("/")).body == PAGE


async def test_event_listeners_leave_connections_for_other_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "MAX_STREAMS", 3)
    async with serving(max_connections=5) as served:
        clients = [await served.connect() for _ in range(5)]
        statuses = []
        for client in clients:
            client.writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses.append((await client.answer()).status)
        assert statuses == [200, 200, 200, 503, 503]
        assert await clients[-1].is_closed(), "a page that waits for its turn keeps no connection"
        await eventually(lambda: served.server.connections == 3)
        assert (await served.get("/")).body == PAGE
        clients[0].writer.close()
        await eventually(lambda: served.server.connections == 2)
        await served.listen()


def test_fewer_event_listeners_than_connections_are_allowed() -> None:
    assert live_feed.MAX_STREAMS < MAX_CONNECTIONS


async def test_a_request_with_a_body_is_answered_without_reading_the_body() -> None:
    async with serving() as served:
        client = await served.connect()
        answer = await client.ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nhi")
        assert answer.status == 405
