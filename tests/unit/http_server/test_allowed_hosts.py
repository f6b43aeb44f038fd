"""The Host check, which prevents DNS rebinding: a web page cannot point its own name at this server and read it."""

import pytest

from libs.runtime.http_server.allowed_hosts import AllowedHosts, is_loopback, parse_host_names
from tests.unit.http_server.served import serving

NAMES = parse_host_names("orders.example.com, LIVE.")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "pipeline.localhost:81",
        "127.0.0.1:8080",
        "10.244.1.7:8080",
        "[::1]",
        "[::1]:8080",
        "[2001:db8::7]:8080",
        "[::ffff:127.0.0.1]:80",
        "orders.example.com",
        "ORDERS.example.com:443",
        "live:8080",
        "live.:8080",
    ],
)
def test_allowed_hosts_are_accepted(host: str) -> None:
    assert AllowedHosts(NAMES).allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "example.com",
        "more.orders.example.com",
        "orders.example.com.evil.example",
        "evil.example.orders.example.com@evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "127.1.evil.example:8080",
        "::1",
        "[::1",
        "[127.0.0.1]",
        "[::1]evil.example",
        "[evil.example]",
        "localhost:80:80",
        "localhost:port",
        "local host",
        "localhost\u0131",
        "",
        ":8080",
        "*",
    ],
)
def test_other_hosts_are_rejected(host: str) -> None:
    assert not AllowedHosts(NAMES).allows(host)


def test_any_name_can_be_allowed() -> None:
    assert AllowedHosts(parse_host_names("*")).allows("evil.example")


@pytest.mark.parametrize("text", ["http://x", "x:80", "x/y", "a b", "-x", "x..y", "*.x", "[::1]", "x" * 254])
def test_an_invalid_host_name_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        parse_host_names(f"good.example,{text}")


def test_loopback_addresses_are_recognised() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.2", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "live", "")))


async def test_a_request_for_another_host_is_rejected_except_for_probe_paths() -> None:
    async with serving(
        hosts=AllowedHosts(NAMES, "LIVE_ALLOWED_HOSTS"), for_any_host={"/ill"}, path_prefix="/p"
    ) as served:
        for path in ("/", "/events", "/p/", "/p", "/none"):
            status, head, body = await served.get(path, "evil.example")
            assert (status, body) == (403, b"this host name is not allowed; add it to LIVE_ALLOWED_HOSTS\n"), path
            assert "nosniff" in head
        assert (await served.get("/", "live")).status == 200
        assert (await served.get("/ill", "any.name")).body == b"ill"
        assert (await served.get("/p/ill", "any.name")).body == b"ill"


async def test_http_1_1_requires_exactly_one_host_header() -> None:
    async with serving() as served:
        assert (await served.get("/ill", None)).status == 400
        assert (await served.get("/ill", "localhost\r\nHost: evil.example")).status == 400
        assert (await served.get("/ill", "evil.example")).status == 503
