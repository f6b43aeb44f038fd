"""Accepted and rejected requests, and several requests on one connection."""

import logging
from collections.abc import AsyncIterator

import pytest

from tests.unit.http_server.served import PAGE, Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


async def test_it_answers_get_and_head(served: Served) -> None:
    status, head, body = await served.ask("GET /?x=1 HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, PAGE)
    assert "Content-Length: 3000000" in head
    assert "default-src 'none'; script-src 'self'" in head
    assert "nosniff" in head
    status, head, body = await served.ask("HEAD / HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert "Content-Length: 3000000" in head
    status, head, body = await served.ask("HEAD /events HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    client = await served.connect()
    client.writer.write(b"GET /ill HTTP/1.0\r\n\r\n")
    answer = await client.reader.read()
    assert answer.startswith(b"HTTP/1.0 503 ")
    assert answer.endswith(b"\r\n\r\nill")


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
        ("\xff\x00 \xfe HTTP/9\r\n\r\n", 400),
        (f"GET /{'x' * 20_000} HTTP/1.1\r\n\r\n", 431),
        (f"GET / HTTP/1.1\r\nCookie: {'x' * 20_000}\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\n" + "".join(f"X-{number}: x\r\n" for number in range(100)) + "\r\n", 400),
    ],
)
async def test_unknown_paths_and_methods_are_rejected(
    served: Served,
    request_text: str,
    status: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer, head, body = await served.ask(request_text)
    assert answer == status
    assert ("Allow: GET, HEAD" in head) == (status == 405)
    assert (body == b"") == request_text.startswith("HEAD")
    assert "nosniff" in head
    assert "default-src 'none'" in head
    assert "aiohttp" not in head + body.decode()
    assert not [record for record in caplog.records if record.name != "asyncio"], "a client cannot fill the log"
    assert "".join(capsys.readouterr()) == "", "nor structlog's log, which these tests write to standard output"


async def test_empty_lines_before_a_request_are_ignored(served: Served) -> None:
    """RFC 9112, 2.2."""
    client = await served.connect()
    assert (await client.ask("\r\n\r\nGET /ill HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 503


async def test_a_connection_serves_one_request_after_another(served: Served) -> None:
    client = await served.connect()
    for _ in range(3):
        assert (await client.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")).body == PAGE
        assert (await client.ask("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", head=True)).status == 200
        assert (await client.ask("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 404
    assert served.server.connections == 1
    client.writer.write(b"GET /ill HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
    assert [(await client.answer()).body for _ in range(2)] == [b"ill", b"ill"]
    last = await client.ask("GET /ill HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert "Connection: close" in last.head
    assert await client.is_closed()


async def test_an_internal_error_is_logged_but_not_disclosed_to_the_client(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    status, head, body = await served.get("/broken")
    assert (status, body) == (500, b"internal error\n")
    assert "nosniff" in head
    logged = "".join(capsys.readouterr())
    assert "a secret of the inside" in logged
    assert "/broken" in logged
