"""XML-RPC over a Unix socket, with a timeout for each call."""

import http.client
import socket
import xmlrpc.client
from pathlib import Path

_TIMEOUT_S = 10.0


class UnixTransport(xmlrpc.client.Transport):
    """A transport for ServerProxy that connects to the socket at ``path`` and ignores the host of the URL."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: str) -> http.client.HTTPConnection:  # type: ignore[override]  # the URL names it
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # the base class closes it
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
