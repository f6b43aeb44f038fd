"""``python -m live``: serves the live page, its facts, the broker's view of the lag, and its own health."""

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
from http import HTTPStatus

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from libs.events.rights import VIEWER
from libs.runtime.errors import PipelineError, SettingsError
from libs.runtime.kafka_client.bootstrap_servers import address_in_url
from libs.runtime.kafka_security.login_refusals import unless_refused
from libs.runtime.metrics import ServiceMetrics
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights
from libs.runtime.service.health import Health
from libs.runtime.service.life_cycle import EXIT_BAD_SETTING, REFUSED_PATIENCE_S, run_to_the_end, warn_of_risks
from libs.runtime.service.logs import configure_logging
from libs.runtime.service.settings import load_settings
from live.feed import Feed
from live.http_server import HttpServer, Response, Route
from live.lag_metrics import LagMetrics
from live.live_settings import LiveSettings
from live.pages import page_routes
from live.snapshot import snapshot
from watch.follow import follow
from watch.observation import Observation
from watch.state import State

_PUBLISH_EVERY_S = 2.0  # also when Kafka cannot be looked at, so that a page knows whether it is still connected

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
    run_to_the_end(unless_refused(with_rights(_serve(settings), check), patience_s=REFUSED_PATIENCE_S))


async def _serve(settings: LiveSettings) -> None:
    serving = asyncio.current_task()
    assert serving is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    warn_of_risks(settings)
    live = Live(settings)
    with contextlib.suppress(asyncio.CancelledError):
        async with HttpServer(live.routes(), {"/events": live.feed}) as server:
            port = await _listen(server, settings.live_host, settings.live_port)
            log.info("service started", http_port=port, page=f"http://{address_in_url(settings.live_host)}:{port}/")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(live.publish())
                tasks.create_task(follow(live.state, settings.kafka, settings.topic_prefix, live.take))


async def _listen(server: HttpServer, host: str, port: int) -> int:
    try:
        return await server.start(host, port)
    except OSError as error:
        raise PipelineError(
            f"LIVE_HOST={host!r}, LIVE_PORT={port} cannot be used: {error}",
            advice="choose another port, or 0 for a free one",
        ) from error


class Live:
    """What is known, and who asks for it."""

    def __init__(self, settings: LiveSettings) -> None:
        self.state = State(settings.window_seconds)
        self.feed = Feed()
        self._health = Health()
        self._lag_metrics = LagMetrics(settings.topic_prefix, time.time)
        self._registry = CollectorRegistry()
        self._registry.register(self._lag_metrics)
        ServiceMetrics(self._registry, self._health)
        self._looked = asyncio.Event()

    def routes(self) -> dict[str, Route]:
        return page_routes() | {
            "/snapshot": lambda: Response("application/json", self._snapshot()),
            "/metrics": lambda: Response(CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)),
            "/health": self._report,
        }

    def take(self, seen: Observation) -> None:
        """A look at Kafka has succeeded."""
        self._lag_metrics.take(seen)
        self._health.started()
        self._looked.set()

    async def publish(self) -> None:
        """Tell all pages how things stand, at once after each look; and the log when Kafka goes away or comes back."""
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
        return orjson.dumps(snapshot(self.state, time.time()))

    def _report(self) -> Response:
        healthy, report = self._health.report()
        status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return Response("application/json", orjson.dumps(report), status)


if __name__ == "__main__":
    main()
