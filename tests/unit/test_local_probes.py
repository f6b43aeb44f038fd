"""What counts as a broker on a port."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.probes import kafka_answers


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
