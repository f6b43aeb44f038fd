"""The life of a service: settings, logging, health, the broker, signals, exit code."""

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from prometheus_client import CollectorRegistry

from libs.runtime.clock import Clock, SystemClock
from libs.runtime.errors import PipelineError, SettingsError
from libs.runtime.kafka_security.login_rejections import unless_rejected
from libs.runtime.logs import configure_logging
from libs.runtime.metrics import ServiceMetrics
from libs.runtime.rights.right import Role
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights
from libs.runtime.service.health import Health
from libs.runtime.service.health_server import HealthServer
from libs.runtime.service.memory import keep_freed_memory
from libs.runtime.service.settings import ServiceSettings, load_settings
from libs.runtime.service.startup_signals import STOP_SIGNALS
from libs.runtime.service.stop_requests import unless_stopped
from libs.runtime.topics.creation import ensure_topics
from libs.runtime.topics.rules import Cluster
from libs.runtime.topics.topic import Topic
from libs.version import VERSION

log = structlog.get_logger()
S = TypeVar("S", bound=ServiceSettings)

EXIT_FAILED = 1
EXIT_BAD_SETTING = 2

# How long the password in the cluster may differ from the one in its file, while both are being changed: the kubelet replaces the
# file of a changed Secret within a minute or so.
REFUSED_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Context(Generic[S]):
    """The objects of a running service. ``registry`` is served over HTTP; ``stop`` is set when the service is asked to end."""

    settings: S
    cluster: Cluster
    health: Health
    clock: Clock
    registry: CollectorRegistry
    stop: asyncio.Event


def run_service(
    name: str,
    settings_class: type[S],
    topics: Iterable[Topic],
    main: Callable[[Context[S]], Awaitable[None]],
    role: Callable[[S], Role] | None = None,
) -> None:
    """Run ``main`` until it returns or SIGTERM or SIGINT asks it to stop; exits the process.

    Args:
        name: the service's name in its log.
        settings_class: its settings.
        topics: created before ``main`` if they are missing.
        main: the service's work.
        role: the rights in Kafka that it needs with these settings; if one is missing, it ends. None: no check.

    Exit codes: 0 after a clean end, 1 when ``main`` failed, 2 for a bad setting.
    """
    try:
        settings = load_settings(settings_class, sys.argv[1:])
    except SettingsError as error:
        sys.stderr.write(f"{name}: bad setting: {error}\n")
        sys.exit(EXIT_BAD_SETTING)
    configure_logging(name, settings.log_level, settings.log_format)
    # Imported modules are never collected: exclude them from garbage collection, and run it less often (+10 % speed).
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    keep_freed_memory()
    check = RightsCheck(settings.kafka, settings.topic_prefix, role(settings)) if role else None
    run_and_exit(_run_unless_refused(settings, topics, main, check))


def run_and_exit(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main``, and log how it ended; exits the process with 1 when it failed."""
    exit_code = EXIT_FAILED
    try:
        asyncio.run(_without_waiting_for_threads(main))
    except PipelineError as error:
        # No stack trace: the cause is outside of the program, and the message says how to fix it.
        log.error("service failed", error=str(error), advice=error.advice or "see the lines before")  # noqa: TRY400
    except Exception as error:
        log.exception("service failed", error=repr(error), advice="a defect: please report it with the trace")
    else:
        log.info("service stopped")
        exit_code = 0
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        logging.shutdown()
        os._exit(exit_code)  # a normal exit would join the thread
    if exit_code:
        sys.exit(exit_code)


class _AbandonedThreads(ThreadPoolExecutor):
    """An executor for DNS look-ups that does not wait for its threads: a resolver may take half a minute."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - ignored on purpose
        super().shutdown(wait=False, cancel_futures=True)


async def _without_waiting_for_threads(main: Coroutine[Any, Any, None]) -> None:
    asyncio.get_running_loop().set_default_executor(_AbandonedThreads(thread_name_prefix="asyncio"))
    await main


async def _run_unless_refused(
    settings: S, topics: Iterable[Topic], main: Callable[[Context[S]], Awaitable[None]], check: RightsCheck | None
) -> None:
    stop = asyncio.Event()
    work = _run(settings, topics, main, stop)
    await unless_rejected(with_rights(work, check) if check else work, stop.set, REFUSED_PATIENCE_S)


def warn_of_risks(settings: ServiceSettings) -> None:
    """Log a warning for each login setting that a network attacker could exploit."""
    for risk in settings.kafka.security.risks():
        log.warning(risk)


async def _run(
    settings: S, topics: Iterable[Topic], main: Callable[[Context[S]], Awaitable[None]], stop: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ignore_unsent_batches)
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    health, registry = Health(), CollectorRegistry()
    ServiceMetrics(registry, health.is_healthy)
    health.watch(loop)
    try:
        server = HealthServer(health, registry, settings.http_host, settings.http_port)
    except OSError as error:
        raise PipelineError(
            f"HTTP_HOST={settings.http_host!r}, HTTP_PORT={settings.http_port} cannot be used: {error}",
            advice="choose another port, or 0 for a free one",
        ) from error
    with server:
        log.info("service started", version=VERSION, http_port=server.port, broker=settings.kafka_bootstrap_servers)
        warn_of_risks(settings)
        if "_crecords" not in DefaultRecordBatch.__module__:
            log.warning(
                "aiokafka's C extension is missing: reading will be 40 times slower", advice="install its wheel"
            )
        cluster = await unless_stopped(ensure_topics(settings, topics), stop)
        if cluster is None:
            return
        health.started()
        await main(Context(settings, cluster, health, SystemClock(), registry, stop))


def ignore_unsent_batches(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler that ignores one kind of error and handles all others as usual.

    A fenced producer raises the error of its unsent batches twice: in the delivery that is awaited, and in a future that is
    never retrieved [aiokafka 0.14: MessageBatch.failure].
    """
    never_awaited = type(context.get("future")) is asyncio.Future
    if not (never_awaited and isinstance(context.get("exception"), KafkaError)):
        loop.default_exception_handler(context)
