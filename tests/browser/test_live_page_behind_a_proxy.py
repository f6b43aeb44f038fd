"""The live page in a browser, below a path of a reverse proxy."""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Thread

import orjson
import pytest

from libs.runtime.http_server.allowed_hosts import AllowedHosts
from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.server import HttpServer
from live.feed import Feed, event_stream
from live.pages import page_routes
from tests.browser.chromium import Browser
from tests.browser.test_live_page_accessibility import BUSY
from tests.integration.services import eventually
from tests.unit.http_server.reverse_proxy import reverse_proxy

PREFIX = "/shop/orders"


@pytest.fixture(scope="module", params=["strips", "keeps"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The page at a proxy that strips its path prefix or keeps it; in a thread, since browser calls block."""
    strips = request.param == "strips"
    found: Future[str] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        feed = Feed()
        routes = page_routes() | {"/events": event_stream(feed)}
        async with HttpServer(routes, hosts=AllowedHosts(), path_prefix="" if strips else PREFIX) as server:
            server.on_stop(feed.close)
            port = await server.start(listening_socket("127.0.0.1", 0))
            async with reverse_proxy(f"http://127.0.0.1:{port}", PREFIX, strips=strips) as url:
                found.set_result(url)
                while not stop.is_set():
                    feed.publish(orjson.dumps(BUSY))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), 1)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        yield found.result(60)
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.mark.parametrize("slash", ["/", ""])
async def test_files_and_events_are_requested_below_the_path_prefix(browser: Browser, url: str, slash: str) -> None:
    browser.open("about:blank")  # the page of an earlier test would keep sending requests
    browser.requests()
    browser.open(url.removesuffix("/") + slash)
    await eventually(lambda: browser.text("#status") == "Live", what="the page is live")
    assert browser.text("#newest-orders") == "1,234,567+"
    asked = [each for each in browser.requests() if each.startswith("http")]
    assert f"{url}events" in asked
    assert {each for each in asked if not each.startswith(url)} <= {url.removesuffix("/")}
    browser.open("about:blank")
