"""A token endpoint for the test's broker, with unsecured JSON web tokens (RFC 7519, section 6)."""

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.abc import AbstractTokenProvider

CLIENT_ID, CLIENT_SECRET = "pipeline-client", "battery staple"


class TokenEndpoint(http.server.ThreadingHTTPServer):
    """Issues tokens with a lifetime of ``lifetime_s``, and counts them."""

    daemon_threads = True

    def __init__(self, lifetime_s: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lifetime_s = lifetime_s
        self.issued = 0

    def settings(self, secret: str = CLIENT_SECRET) -> dict[str, str]:
        return {
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_SASL_OAUTH_TOKEN_URL": f"http://127.0.0.1:{self.server_address[1]}/token",
            "KAFKA_SASL_OAUTH_CLIENT_ID": CLIENT_ID,
            "KAFKA_SASL_OAUTH_CLIENT_SECRET": secret,
        }

    def answer(self, authorization: str) -> tuple[int, dict[str, object]]:
        login = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '+')}".encode()).decode()
        if authorization != f"Basic {login}":
            return 401, {"error": "invalid_client"}
        self.issued += 1
        return 200, {"access_token": unsecured_token(self.lifetime_s), "expires_in": self.lifetime_s}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, TokenEndpoint)
        self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.server.answer(self.headers.get("Authorization", ""))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def token_endpoint(lifetime_s: int) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(lifetime_s) as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        yield endpoint
        endpoint.shutdown()


class Provider(AbstractTokenProvider):
    """A token provider as a user would write it."""

    async def token(self) -> str:
        return unsecured_token(60)


class BrokenProvider(AbstractTokenProvider):
    async def token(self) -> str:
        raise RuntimeError("no region")


def unsecured_token(lifetime_s: int) -> str:
    now_s = int(time.time())
    claims = {"sub": "pipeline", "iat": now_s, "exp": now_s + lifetime_s}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
