"""`/health` over HTTP, true only while the service makes progress or is truly idle, and `/metrics`.

`/health/live` asks less: whether the event loop turns. A service that waits for its broker is unhealthy and alive; to start
it again would not help.

The server runs in a thread of its own, so that a stuck event loop answers "unhealthy" instead of not at all.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import orjson
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from libs.runtime.timing import HEALTHY_FOR_S, LOOP_ALIVE_FOR_S

_SLOWEST_CLIENT_S = 10.0
_LOOP_LOOKED_AT_EVERY_S = 1.0


class Health:
    """Collects signs of life by name (a partition, a connection); one that is overdue makes the service unhealthy."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._beats: dict[str, float] = {"started": monotonic_s()}
        self._loop_turned_at_s = monotonic_s()
        self._lock = threading.Lock()

    def beat(self, name: str) -> None:
        """``name`` made progress, or confirmed that there is nothing to do."""
        with self._lock:
            self._beats[name] = self._monotonic_s()

    def forget(self, name: str) -> None:
        """``name`` is no longer this service's business."""
        with self._lock:
            self._beats.pop(name, None)

    def report(self) -> tuple[bool, dict[str, object]]:
        """Whether all is well, and seconds since each sign of life."""
        now = self._monotonic_s()
        with self._lock:
            ages_s = {name: round(now - beat, 1) for name, beat in self._beats.items()}
        overdue = sorted(name for name, age_s in ages_s.items() if age_s > HEALTHY_FOR_S)
        starting = set(ages_s) == {"started"}
        healthy = not overdue and not starting
        reason = "starting" if starting else f"no progress: {', '.join(overdue)}" if overdue else "ok"
        return healthy, {"healthy": healthy, "reason": reason, "seconds_since": ages_s}

    def started(self) -> None:
        """The service has reached the broker: from now on only the other signs of life count."""
        self.beat("connected")
        self.forget("started")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take each second in which ``loop`` gets to this for a sign of its life, until it is closed."""
        self._loop_turned_at_s = self._monotonic_s()
        loop.call_later(_LOOP_LOOKED_AT_EVERY_S, self.watch, loop)

    def liveness(self) -> tuple[bool, dict[str, object]]:
        """Whether the event loop turns, and seconds since it last did."""
        age_s = self._monotonic_s() - self._loop_turned_at_s
        alive = age_s <= LOOP_ALIVE_FOR_S
        return alive, {"alive": alive, "seconds_since_event_loop_turned": round(age_s, 1)}


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle of an answer is no event."""


class _QuietIPv6Server(_QuietServer):
    address_family = socket.AF_INET6


class HealthServer:
    """Serves ``/health``, ``/health/live`` (200 or 503, with a report as JSON) and ``/metrics``, until the ``with`` block ends.

    Methods are GET and HEAD.

    ``host`` may be an IPv6 address; ``::`` listens on all addresses, those of IPv4 included where the system has it so.
    """

    def __init__(self, health: Health, registry: CollectorRegistry, host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = _SLOWEST_CLIENT_S

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))
                elif path in {"/health", "/health/live"}:
                    good, report = health.report() if path == "/health" else health.liveness()
                    self._answer(200 if good else 503, "application/json", orjson.dumps(report))
                else:
                    self._answer(404, "application/json", b'{"error":"not found; try /health or /metrics"}')

            do_HEAD = do_GET  # noqa: N815 - as the base class names it

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Questions are no events."""

        server = _QuietIPv6Server if ":" in host else _QuietServer
        self._server = server((host, port), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
