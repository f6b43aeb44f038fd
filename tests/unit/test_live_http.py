"""The page's server over real connections on loopback, with routes of the test's own."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from libs.runtime.http_server import connections
from libs.runtime.http_server.allowed_hosts import AllowedHosts
from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.responses import content
from libs.runtime.http_server.server import HttpServer
from live import feed as live_feed
from live.feed import Feed, event_stream
from live.pages import FOLDER, page_routes
from tests.integration.services import eventually


class Served:
    def __init__(self, server: HttpServer, port: int, feed: Feed) -> None:
        self.server = server
        self.port = port
        self.feed = feed
        self.writers: list[asyncio.StreamWriter] = []

    async def ask(self, request: str) -> tuple[int, str, bytes]:
        """Status, headers and body of the answer to a request, head and all."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.encode("latin-1"))
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body

    async def listen(self) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2_000_000)
        writer.write(b"GET /events HTTP/1.1\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"\n\n") == b"retry: 1000\n\n"
        self.writers.append(writer)
        return reader


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    feed = Feed()
    routes = {
        "/": lambda: Response("text/plain", b"x" * 3_000_000),
        "/ill": lambda: Response("text/plain", b"ill", HTTPStatus.SERVICE_UNAVAILABLE),
    }
    async with HttpServer(routes, {"/events": feed}) as server:
        served = Served(server, await server.start("127.0.0.1", 0), feed)
        yield served
        for writer in served.writers:
            writer.close()


async def test_it_answers_get_and_head(served: Served) -> None:
    status, head, body = await served.ask("GET /?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, len(body)) == (200, 3_000_000)
    assert "Content-Length: 3000000" in head
    assert "default-src 'none'; script-src 'self'" in head
    assert "nosniff" in head
    status, head, body = await served.ask("HEAD / HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert "Content-Length: 3000000" in head
    status, head, body = await served.ask("HEAD /events HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert (await served.ask("GET /ill HTTP/1.0\r\n\r\n"))[::2] == (503, b"ill")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /none HTTP/1.1\r\n\r\n", 404),
        ("HEAD /none HTTP/1.1\r\n\r\n", 404),
        ("GET /../live/pages.py HTTP/1.1\r\n\r\n", 404),
        ("GET /%2e%2e/pages.py HTTP/1.1\r\n\r\n", 404),
        ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 405),
        ("PUT /events HTTP/1.1\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
        ("\r\n\r\n", 400),
        ("\xff\x00 \xfe HTTP/9\r\n\r\n", 400),
        (f"GET /{'x' * 20_000} HTTP/1.1\r\n\r\n", 431),
    ],
)
async def test_it_refuses_what_it_does_not_know(served: Served, request_text: str, status: int) -> None:
    answer, head, body = await served.ask(request_text)
    assert answer == status
    assert ("Allow: GET, HEAD" in head) == (status == 405)
    assert (body == b"") == request_text.startswith("HEAD")


async def test_who_listens_is_told_the_newest_at_once_and_each_that_follows(served: Served) -> None:
    for number in (1, 2):
        served.feed.publish(b"%d" % number)
    reader = await served.listen()
    assert await reader.readuntil(b"\n\n") == b"data: 2\n\n"
    served.feed.publish(b"3")
    assert await reader.readuntil(b"\n\n") == b"data: 3\n\n"


async def test_who_does_not_read_is_dropped_and_disturbs_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_SEND_TIMEOUT_S", 0.3)
    deaf, lively = await served.listen(), await served.listen()
    deaf._transport.pause_reading()  # type: ignore[attr-defined]
    size = 0
    for number in range(30):
        served.feed.publish(b"x" * 1_000_000 + b"%d" % number)
        size += len(await lively.readuntil(b"\n\n"))
    assert size > 30_000_000
    await eventually(lambda: len(served.server._clients) == 1, what="the deaf one is dropped")
    deaf._transport.resume_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(deaf.read(1_000_000), 5):
            pass


async def test_who_says_nothing_is_hung_up_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_REQUEST_TIMEOUT_S", 0.1)
    assert await served_bytes(served.port, b"GET / HT") == b""


async def test_connections_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_MAX_CONNECTIONS", 2)
    for _ in range(2):
        await served.listen()
    assert (await served.ask("GET / HTTP/1.1\r\n\r\n"))[0] == 503


async def test_the_end_of_the_server_ends_its_connections() -> None:
    async with HttpServer({}, {"/events": Feed()}) as server:
        served = Served(server, await server.start("127.0.0.1", 0), Feed())
        reader = await served.listen()
    assert await reader.read() == b""
    served.writers[0].close()


async def served_bytes(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def test_the_page_asks_for_nothing_but_its_own_files() -> None:
    routes = page_routes()
    assert {"/", "/app.js", "/style.css", "/icon.svg"} <= routes.keys()
    for path, route in routes.items():
        text = route().body.decode()
        for name in re.findall(r'(?:from|src=|href=) ?"([^"]+)"', text):
            assert name.removeprefix(".").removeprefix("/") in {
                *(known.removeprefix("/") for known in routes),
                *("metrics", "snapshot", "health"),
            }, f"{path}: {name}"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
    assert len(routes) == len(list((Path(http_server.__file__).parent / "page").iterdir()))
