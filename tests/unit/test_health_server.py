"""/health and /metrics over HTTP, as load balancers and humans request them."""

import errno
import http.client
import socket
from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from libs.runtime.service.health import Health
from libs.runtime.service.health_server import HealthServer


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
def test_head_is_answered_like_get_without_a_body(path: str) -> None:
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
def test_it_listens_on_an_ipv6_address(host: str) -> None:
    health = Health()
    health.started()
    with HealthServer(health, CollectorRegistry(), host, 0) as server:
        assert ask("::1", server.port, "GET", "/health")[0] == HTTPStatus.OK


@pytest.mark.skipif(
    not has_ipv6() or not socket.has_dualstack_ipv6(), reason="this machine has no IPv6, or no dual-stack sockets"
)
def test_listening_on_all_addresses_includes_ipv4() -> None:
    with HealthServer(Health(), CollectorRegistry(), "::", 0) as server:
        assert ask("127.0.0.1", server.port, "GET", "/metrics")[0] == HTTPStatus.OK


def without_ipv6(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let every use of an IPv6 address fail with ``number``."""
    create_server = socket.create_server

    def create(address: tuple[str, int], **arguments: Any) -> socket.socket:
        if arguments.get("family") == socket.AF_INET6:
            raise OSError(number, "as injected")
        return create_server(address, **arguments)

    monkeypatch.setattr(socket, "create_server", create)


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_listening_on_all_addresses_works_where_the_kernel_has_no_ipv6(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ipv6(monkeypatch, number)
    with HealthServer(Health(), CollectorRegistry(), "::", 0) as server:
        assert ask("127.0.0.1", server.port, "GET", "/metrics")[0] == HTTPStatus.OK


@pytest.mark.parametrize(("host", "number"), [("::1", errno.EADDRNOTAVAIL), ("::", errno.EADDRINUSE)])
def test_no_other_address_and_no_other_error_is_answered_by_ipv4(
    host: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ipv6(monkeypatch, number)
    with pytest.raises(OSError, match="as injected"):
        HealthServer(Health(), CollectorRegistry(), host, 0)


def test_a_connection_serves_one_scrape_after_another() -> None:
    with HealthServer(Health(), CollectorRegistry(), "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.connect()
        local_port = connection.sock.getsockname()[1]
        for _ in range(3):
            connection.request("GET", "/metrics")
            assert connection.getresponse().read() == b""
            assert connection.sock.getsockname()[1] == local_port
        connection.close()


def status_for(server: HealthServer, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/metrics", headers={"Host": host})
    status = connection.getresponse().status
    connection.close()
    return status


def test_any_host_name_is_accepted_in_a_network_but_only_its_own_on_loopback() -> None:
    with HealthServer(Health(), CollectorRegistry(), "0.0.0.0", 0) as server:
        for host in ("processor:8080", "10.244.1.7:8080", "sink.order-pipeline.svc.cluster.local"):
            assert status_for(server, host) == HTTPStatus.OK
    with HealthServer(Health(), CollectorRegistry(), "127.0.0.1", 0) as server:
        for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"[::1]:{server.port}"):
            assert status_for(server, host) == HTTPStatus.OK
        assert status_for(server, "evil.example") == HTTPStatus.FORBIDDEN


def test_clients_that_send_or_read_nothing_do_not_delay_the_stop() -> None:
    with HealthServer(Health(), CollectorRegistry(), "127.0.0.1", 0) as server:
        silent = socket.create_connection(("127.0.0.1", server.port))
        half = socket.create_connection(("127.0.0.1", server.port))
        half.sendall(b"GET /hea")
        assert ask("127.0.0.1", server.port, "GET", "/metrics")[0] == HTTPStatus.OK
    for client in (silent, half):
        assert client.recv(1) == b""
        client.close()


def test_a_port_that_is_taken_is_an_error_before_anything_runs() -> None:
    with HealthServer(Health(), CollectorRegistry(), "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="in use"):
            HealthServer(Health(), CollectorRegistry(), "127.0.0.1", server.port)
        assert ask("127.0.0.1", server.port, "GET", "/metrics")[0] == HTTPStatus.OK
