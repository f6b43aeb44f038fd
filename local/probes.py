"""Probes whether ZooKeeper, Kafka and a service respond, with the standard library only."""

import http.client
import json
import socket
import ssl
import struct

_TIMEOUT_S = 5.0  # on a busy machine a response may take two seconds
_METADATA, _API_VERSIONS, _CORRELATION_ID = 3, 18, 7


def zookeeper_answers(port: int) -> bool:
    """Whether ZooKeeper listens on ``port``. A request that early would make it log an error."""
    try:
        socket.create_connection(("127.0.0.1", port), _TIMEOUT_S).close()
    except OSError:
        return False
    return True


def kafka_answers(port: int) -> bool:
    """Whether the broker on ``port`` accepts requests and is in its own list of brokers.

    An open port is not enough: topics created too early fail because there are no live brokers.
    """
    # MetadataRequest v1: no client id, no topics.
    request = struct.pack(">hhihi", _METADATA, 1, _CORRELATION_ID, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            header = connection.recv(12, socket.MSG_WAITALL)
    except OSError:
        return False
    if len(header) < 12:
        return False
    _, correlation_id, brokers = struct.unpack(">iii", header)
    # Another program, such as an HTTP server, responds with text.
    return bool(correlation_id == _CORRELATION_ID and brokers > 0)


def kafka_listens(port: int) -> bool:
    """Whether a broker listens on ``port``, also one that speaks only TLS or wants a login."""
    return _reports_versions(port, None) or _reports_versions(port, _unverified())


def _reports_versions(port: int, context: ssl.SSLContext | None) -> bool:
    """Whether the broker responds to an ApiVersionsRequest v0, the only one that is allowed before the login (KIP-43)."""
    request = struct.pack(">hhih", _API_VERSIONS, 0, _CORRELATION_ID, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as plain:
            connection = context.wrap_socket(plain) if context else plain
            with connection, connection.makefile("rb") as response:
                connection.sendall(struct.pack(">i", len(request)) + request)
                header = response.read(10)
    except OSError:
        return False
    return len(header) == 10 and struct.unpack(">ih", header[4:]) == (_CORRELATION_ID, 0)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # no secret is sent
    return context


def health_of(port: int) -> str:
    """The health that a service reports: "ok", or the reason why not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return str(json.loads(connection.getresponse().read())["reason"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return "no answer"
    finally:
        connection.close()
