"""`/health`, `/health/live` and `/metrics` over HTTP.

The server has its own thread and event loop, so that it reports "unhealthy" instead of not responding if the service's event
loop is blocked.
"""

import asyncio
import threading
from http import HTTPStatus
from types import TracebackType
from typing import Self

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from libs.runtime.http_server.allowed_hosts import AllowedHosts, is_loopback
from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.responses import content
from libs.runtime.http_server.server import Handler, HttpServer
from libs.runtime.service.health import Health

_MAX_CONNECTIONS = 32


def health_routes(health: Health, registry: CollectorRegistry) -> dict[str, Handler]:
    """``/health``, 200 or 503 with a report as JSON, and ``/metrics``."""

    async def metrics(_: web.Request) -> web.StreamResponse:
        return content(CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))

    async def ready(_: web.Request) -> web.StreamResponse:
        return _reported(*health.report())

    return {"/health": ready, "/metrics": metrics}


def _reported(good: bool, report: dict[str, object]) -> web.Response:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return content("application/json", orjson.dumps(report), status)


def _not_found() -> web.Response:
    return content("application/json", b'{"error":"not found; try /health or /metrics"}', HTTPStatus.NOT_FOUND)


class HealthServer:
    """Serves ``/health``, ``/health/live`` (200 or 503, with a report as JSON) and ``/metrics``, until the ``with`` block ends.

    Methods are GET and HEAD. On a public address any Host header is allowed: in a network of containers this machine has many
    names. On a loopback address only this machine's own names are, because a browser may run on the same machine.

    Args:
        health: the service's health.
        registry: the metrics.
        host: address to listen on: a name, IPv4 or IPv6. ``::`` means all, see ``listening_socket``.
        port: 0 means any free port.

    Raises:
        OSError: the address cannot be used.
    """

    def __init__(self, health: Health, registry: CollectorRegistry, host: str, port: int) -> None:
        async def alive(_: web.Request) -> web.StreamResponse:
            return _reported(*health.liveness())

        self._listening = listening_socket(host, port)
        self.port: int = self._listening.getsockname()[1]
        self._server = HttpServer(
            health_routes(health, registry) | {"/health/live": alive},
            hosts=AllowedHosts() if is_loopback(host) else None,
            max_connections=_MAX_CONNECTIONS,
            not_found=_not_found,
        )
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with self._server as server:
            await server.start(self._listening)
            await self._stop.wait()
