"""The live page's feed of events, and its files."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from live.pages import FOLDER, page_routes
from tests.unit.http_server.served import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


async def test_a_listener_gets_the_newest_snapshot_at_once_and_then_each_new_one(served: Served) -> None:
    for number in (1, 2):
        served.feed.publish(b"%d" % number)
    client = await served.listen()
    assert await client.reader.readuntil(b"\n\n") == b"data: 2\n\n"
    served.feed.publish(b"3")
    assert await client.reader.readuntil(b"\n\n") == b"data: 3\n\n"


async def test_the_page_references_only_its_own_files() -> None:
    routes = page_routes()
    assert {"/", "/app.js", "/style.css", "/icon.svg"} <= routes.keys()
    for path, route in routes.items():
        response = await route(make_mocked_request("GET", path))
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        text = response.body.decode()
        for name in re.findall(r'(?:from|src=|href=) ?"([^"]+)"', text):
            assert not name.startswith("/"), f"{path}: {name} leaves a path prefix"
            assert name.removeprefix("./") in {
                *(known.removeprefix("/") for known in routes),
                *("metrics", "snapshot", "health"),
            }, f"{path}: {name}"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
    assert len(routes) == len(list(FOLDER.iterdir()))
