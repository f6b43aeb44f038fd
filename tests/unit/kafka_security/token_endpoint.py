"""A token endpoint whose answers the test chooses, and a client of it."""

import base64
import http.server
import json
import threading
import urllib.parse
from typing import Any

from libs.runtime.kafka_security.oauth import ClientCredentials
from libs.runtime.secret import Secret

HIDDEN = "hunter 2%"
POLL_S = 0.01  # a server that is shut down ends at its next poll


class Endpoint(http.server.ThreadingHTTPServer):
    """Responds as the test says, and keeps the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body: Any = None
        self.raw: bytes | None = None
        self.location: str | None = None
        self.connections = 0
        self.answers = threading.Event()
        self.answers.set()
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/token"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, *_: object) -> None:
        """A client that rejects the certificate is no error of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Endpoint)
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        self.server.asked.append((login, urllib.parse.parse_qs(form)))
        self.server.answers.wait(60)
        if self.server.raw is not None:
            self.wfile.write(self.server.raw)
            return
        body = self.server.body
        if body is None:
            body = {"access_token": f"token-{len(self.server.asked)}", "expires_in": 100}
        self.send_response(self.server.status)
        if self.server.location is not None:
            self.send_header("Location", self.server.location)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def credentials(endpoint: Endpoint, clock: Clock, secret: Secret | None = None) -> ClientCredentials:
    return ClientCredentials(endpoint.url, "my client", secret or Secret("S", HIDDEN), "kafka write", clock)
