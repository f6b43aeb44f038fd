"""`/health` over HTTP, true only while the service makes progress or is truly idle, and `/metrics`.

`/health/live` asks less: whether the event loop turns. A service that waits for its broker is unhealthy and alive; to start
it again would not help.

The server runs in a thread and an event loop of its own, so that a stuck event loop answers "unhealthy" instead of not at all.
"""

import asyncio
import threading
import time
from collections.abc import Callable
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
from libs.runtime.timing import HEALTHY_FOR_S, LOOP_ALIVE_FOR_S

_MAX_CONNECTIONS = 32
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

    Methods are GET and HEAD. Where other machines can ask, they may call this one by any name: in a network of containers
    it has many. On a loopback address only this machine's own names are allowed, since a browser may run beside it.

    Args:
        health: answers for the service.
        registry: of the metrics.
        host: address to listen on: a name, IPv4 or IPv6. ``::`` stands for all addresses, those of IPv4 included where the
            system has it so.
        port: 0 takes a free one.

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
