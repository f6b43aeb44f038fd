"""``python -m live``: serves the live page, its data, the lag metrics, and its own health."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file can be started by its path alone

from libs.runtime.service.startup_signals import exit_on_stop_signals

if __name__ == "__main__":
    exit_on_stop_signals()  # the imports below take a second or more

import asyncio
import contextlib
import signal
import time

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from libs.events.rights import VIEWER
from libs.runtime.errors import PipelineError, SettingsError
from libs.runtime.http_server.allowed_hosts import AllowedHosts, is_loopback, parse_host_names
from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.responses import content
from libs.runtime.http_server.server import Handler, HttpServer
from libs.runtime.kafka_security.bootstrap_servers import address_in_url
from libs.runtime.kafka_security.login_rejections import unless_rejected
from libs.runtime.life_cycle import EXIT_BAD_SETTING, REFUSED_PATIENCE_S, run_and_exit, warn_of_risks
from libs.runtime.logs import configure_logging
from libs.runtime.metrics import ServiceMetrics
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights
from libs.runtime.service.health import Health
from libs.runtime.service.health_server import health_routes
from libs.runtime.service.settings import load_settings
from live.feed import Feed, event_stream
from live.lag_metrics import LagMetrics
from live.live_settings import LiveSettings
from live.pages import page_routes
from live.snapshot import snapshot_json
from watch.observation import Observation
from watch.observing import observe_until_cancelled
from watch.state import State

_PUBLISH_EVERY_S = 2.0  # also while Kafka is unavailable, so that a page knows whether it is still connected

log = structlog.get_logger()


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit codes as a service's: 1 if it cannot serve, 2 for a bad setting."""
    try:
        settings = load_settings(LiveSettings, sys.argv[1:])
    except SettingsError as error:
        sys.stderr.write(f"live: bad setting: {error}\n")
        sys.exit(EXIT_BAD_SETTING)
    serve(settings)


def serve(settings: LiveSettings) -> None:
    """Serve until SIGTERM or SIGINT; exits the process with 1 when it cannot."""
    configure_logging("live", settings.log_level, settings.log_format)
    check = RightsCheck(settings.kafka, settings.topic_prefix, VIEWER)
    run_and_exit(unless_rejected(with_rights(_serve(settings), check), patience_s=REFUSED_PATIENCE_S))


async def _serve(settings: LiveSettings) -> None:
    serving = asyncio.current_task()
    assert serving is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    warn_of_risks(settings)
    live = LivePage(settings)
    with contextlib.suppress(asyncio.CancelledError):
        async with _server(live, settings) as server:
            port = await _listen(server, settings.live_host, settings.live_port)
            log.info("service started", http_port=port, page=f"http://{address_in_url(settings.live_host)}:{port}/")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(live.publish())
                tasks.create_task(observe_until_cancelled(live.state, settings.kafka, settings.topic_prefix, live.take))


def _server(live: "LivePage", settings: LiveSettings) -> HttpServer:
    """The page's server.

    The paths for Prometheus and health checks accept any Host header: in a network of containers it is the service's name.
    If only this machine reaches the port, they are restricted, too, since only its browsers could send another name.
    """
    probes = live.probes()
    names = {settings.live_host.lower(), *parse_host_names(settings.live_allowed_hosts)}
    server = HttpServer(
        live.pages() | probes,
        hosts=AllowedHosts(names, "LIVE_ALLOWED_HOSTS"),
        for_any_host=() if is_loopback(settings.live_host) else probes.keys(),
        path_prefix=settings.live_path_prefix,
    )
    server.on_stop(live.feed.close)
    return server


async def _listen(server: HttpServer, host: str, port: int) -> int:
    try:
        return await server.start(listening_socket(host, port))
    except OSError as error:
        raise PipelineError(
            f"LIVE_HOST={host!r}, LIVE_PORT={port} cannot be used: {error}",
            advice="choose another port, or 0 for a free one",
        ) from error


class LivePage:
    """The newest state of the pipeline, and the HTTP routes that serve it."""

    def __init__(self, settings: LiveSettings) -> None:
        self.state = State(settings.window_seconds)
        self.feed = Feed()
        self._health = Health()
        self._lag_metrics = LagMetrics(settings.topic_prefix, time.time)
        self._registry = CollectorRegistry()
        self._registry.register(self._lag_metrics)
        ServiceMetrics(self._registry, self._health.is_healthy)
        self._looked = asyncio.Event()

    def pages(self) -> dict[str, Handler]:
        """The routes for browsers."""

        async def newest(_: web.Request) -> web.StreamResponse:
            return content("application/json", self._snapshot())

        return page_routes() | {"/snapshot": newest, "/events": event_stream(self.feed)}

    def probes(self) -> dict[str, Handler]:
        """The routes for Prometheus and health checks."""
        return health_routes(self._health, self._registry)

    def take(self, seen: Observation) -> None:
        """Take in a new observation of Kafka."""
        self._lag_metrics.take(seen)
        self._health.started()
        self._looked.set()

    async def publish(self) -> None:
        """Send the state to all pages; log when Kafka becomes unavailable or available again."""
        logged = None
        while True:
            if (waiting_for := self.state.waiting_for) != logged:
                logged = waiting_for
                log.info(f"waiting for {waiting_for}" if waiting_for else "Kafka answers")
            self.feed.publish(self._snapshot())
            self._looked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PUBLISH_EVERY_S):
                    await self._looked.wait()

    def _snapshot(self) -> bytes:
        return snapshot_json(self.state, time.time())


if __name__ == "__main__":
    main()
