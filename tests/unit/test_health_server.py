"""/health and /metrics over HTTP, as load balancers and humans ask for them."""

import http.client
import socket
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry

from libs.runtime.service.health import Health, HealthServer


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def ask(host: str, port: int, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/health", "/metrics", "/nothing"])
def test_head_is_answered_as_get_is_but_for_the_body(path: str) -> None:
    health = Health()
    health.started()
    with HealthServer(health, CollectorRegistry(), "127.0.0.1", 0) as server:
        status, headers, body = ask("127.0.0.1", server.port, "GET", path)
        head_status, head_headers, head_body = ask("127.0.0.1", server.port, "HEAD", path)
    assert (head_status, head_body) == (status, b"")
    assert len(body) == int(headers["Content-Length"])
    assert head_headers["Content-Type"] == headers["Content-Type"]
    assert head_headers["Content-Length"] == headers["Content-Length"]


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address(host: str) -> None:
    health = Health()
    health.started()
    with HealthServer(health, CollectorRegistry(), host, 0) as server:
        assert ask("::1", server.port, "GET", "/health")[0] == HTTPStatus.OK
