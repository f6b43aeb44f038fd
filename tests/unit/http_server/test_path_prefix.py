"""Behind a reverse proxy that strips the path prefix or keeps it, with real connections."""

import re
from urllib.parse import urljoin

import aiohttp
import pytest

from libs.runtime.http_server.allowed_hosts import AllowedHosts
from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.server import HttpServer
from live.feed import Feed, event_stream
from live.pages import page_routes
from tests.unit.http_server.reverse_proxy import reverse_proxy
from tests.unit.http_server.served import serving


@pytest.mark.parametrize("keeps_host", [True, False])
@pytest.mark.parametrize(("strips", "path_prefix"), [(True, ""), (True, "/shop/orders"), (False, "/shop/orders")])
async def test_the_page_and_its_events_work_behind_a_proxy(strips: bool, path_prefix: str, keeps_host: bool) -> None:
    feed = Feed()
    routes = page_routes() | {"/events": event_stream(feed)}
    hosts = AllowedHosts({"orders.example.com"} if keeps_host else ())
    as_public = {"Host": "orders.example.com"} if keeps_host else {}
    async with HttpServer(routes, hosts=hosts, path_prefix=path_prefix) as server, aiohttp.ClientSession() as browser:
        server.on_stop(feed.close)
        port = await server.start(listening_socket("127.0.0.1", 0))
        async with reverse_proxy(
            f"http://127.0.0.1:{port}", "/shop/orders", strips=strips, keeps_host=keeps_host
        ) as url:
            async with browser.get(url.removesuffix("/"), headers=as_public, allow_redirects=False) as response:
                assert response.status in {301, 307}
                assert urljoin(url.removesuffix("/"), response.headers["Location"]) == url
            async with browser.get(url, headers=as_public) as response:
                page = await response.text()
            names = re.findall(r'(?:src|href)="([^"]+\.[a-z]+)"', page)
            assert len(names) >= 3
            for name in names:
                async with browser.get(urljoin(url, name), headers=as_public) as response:
                    assert response.status == 200, name
            async with browser.head(urljoin(url, "style.css"), headers=as_public) as response:
                assert int(response.headers["Content-Length"]) > 1000
            for number in (1, 2):
                feed.publish(b"%d" % number)
                async with browser.get(urljoin(url, "events"), headers=as_public) as response:
                    assert response.headers["X-Accel-Buffering"] == "no"
                    assert await response.content.readuntil(b"data: %d\n\n" % number)


async def test_paths_work_without_the_prefix_but_not_with_another_one() -> None:
    async with serving(path_prefix="/orders") as served:
        assert (await served.get("/ill")).body == b"ill"
        assert (await served.get("/orders/ill")).body == b"ill"
        assert (await served.get("/others/ill")).status == 404
        assert (await served.get("/orders/orders/ill")).status == 404
        redirect = await served.get("/orders")
        assert redirect.status == 307
        assert "\r\nLocation: orders/\r\n" in redirect.head
