"""What counts as a broker on a port."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli.context import ThisMachine
from doctor.machine_facts import collect_machine_facts
from local.paths import ROOT
from local.probes import kafka_answers, kafka_listens
from local.settings import LocalSettings
from tests.security.certificates import Authority


@contextmanager
def responding_with(response: bytes) -> Iterator[int]:
    """A server on a port of its own that responds to one request."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(response)

        thread = threading.Thread(target=respond)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("response", "is_broker"),
    [
        (struct.pack(">iii", 100, 7, 1), True),
        (struct.pack(">iii", 100, 7, 0), False),  # it has just started, and is not in its own list of brokers
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_a_metadata_response_with_brokers_is_one(response: bytes, *, is_broker: bool) -> None:
    with responding_with(response) as port:
        assert kafka_answers(port) is is_broker


@contextmanager
def broker_with_login(context: ssl.SSLContext | None) -> Iterator[int]:
    """A server that responds to ApiVersions only, as a broker does before the login; with ``context`` it speaks TLS only."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                with suppress(OSError), connection:
                    served = context.wrap_socket(connection, server_side=True) if context else connection
                    with served:
                        request = served.recv(1024)
                        if request[4:6] == struct.pack(">h", 18):
                            served.sendall(struct.pack(">i", 10) + request[8:12] + struct.pack(">hi", 0, 0))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_broker_that_wants_a_login_listens() -> None:
    with broker_with_login(None) as port:
        assert not kafka_answers(port)
        assert kafka_listens(port)


def test_a_broker_that_speaks_only_tls_listens(tmp_path: Path) -> None:
    """Its certificate need not be one that this machine trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Authority(tmp_path).issue("kafka").both)
    with broker_with_login(context) as port:
        assert not kafka_answers(port)
        assert kafka_listens(port)
        assert ThisMachine().kafka_answers(port)
        facts = collect_machine_facts(
            ROOT, LocalSettings.from_environment(), {"PIPELINE_KAFKA_PORT": str(port)}, local_mode_runs=False
        )
        assert facts.compose_ports[0].has_broker


def test_another_program_is_no_broker_that_listens() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert not kafka_listens(server.server_port)
        finally:
            server.shutdown()
            thread.join()


def test_no_broker_listens_on_a_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not kafka_listens(port)
