"""Starts a pipeline: checks all preconditions first, then waits for each program."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

from local.errors import EndedElsewhereError, LocalModeError, PortTakenError
from local.kafka_data import check_data
from local.ports import is_taken
from local.programs import Replicas, libs_of, replica_names, supervisor_config
from local.readiness import Readiness
from local.settings import LocalSettings
from local.supervision import Supervisor

Report = Callable[[str], None]

_READY_S = 150.0
_POLL_S = 0.2
_LOG_LINES = 15


def start(settings: LocalSettings, supervisor: Supervisor, replicas: Replicas, report: Report) -> None:
    """Start everything in ``settings.directory``; the caller has to stop it, also after an error.

    Raises:
        PortTakenError: another program has one of the ports; nothing was started.
        LocalModeError: something is missing or did not start, or another pipeline writes the metrics file.
    """
    libs_of(settings)
    check_data(settings.directory, kraft=settings.kafka_4 is not None)
    check_ports(settings, replica_names(replicas))
    for name, port in (("LOCAL_KAFKA_PORT", settings.kafka_port), ("LOCAL_ZOOKEEPER_PORT", settings.zookeeper_port)):
        if is_taken(port):
            raise PortTakenError(
                f"port {port} ({name}) is taken by another program", advice=f"set {name} to another port"
            )
    if replicas and settings.writes_file:
        check_output(settings.sink_output_path)
    logs = settings.directory / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    settings.save()
    kafka = f"Kafka {settings.kafka_4}" if settings.kafka_4 else "ZooKeeper, Kafka"
    report(f"starting {kafka}{' and the services' if replicas else ''}; everything is in {settings.directory}")
    supervisor.start(supervisor_config(settings, replicas, supervisor.socket), _environment(settings))


def check_ports(settings: LocalSettings, names: list[str]) -> None:
    """Raise PortTakenError if the health port of one of these services is taken."""
    for name in names:
        port = settings.http_port_of(name)
        if is_taken(port):
            raise PortTakenError(
                f"port {port}, for {name}'s /health, is taken by another program",
                advice=f"set LOCAL_HTTP_PORT, where these ports begin, to another than {settings.http_port}, "
                "and start the pipeline",
            )


def check_output(path: Path) -> None:
    """Raise LocalModeError if a sink holds the lock of the metrics file ``path``: a second one would wait for it for ever."""
    try:
        with path.with_name(path.name + ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LocalModeError(
            f"another pipeline writes {path}",
            advice="set SINK_OUTPUT_PATH to another file, and SINK_DATABASE_URL to another database if there is one",
        ) from None
    except OSError:  # there is none yet; whether the folder can be written to, the sink finds out
        return


def _environment(settings: LocalSettings) -> dict[str, str]:
    return os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "SINK_OUTPUT_PATH": str(settings.sink_output_path),
        "SINK_DATABASE_URL": settings.sink_database_url,
        "LIVE_HOST": "127.0.0.1",
        "LOG_FORMAT": "json",
    }


def wait_until_ready(
    settings: LocalSettings, supervisor: Supervisor, report: Report, before: Collection[str] = ()
) -> None:
    """Wait until all programs respond, and still do a little later, except those that ran ``before``; report each one.

    Raises:
        LocalModeError: one of them failed, or took too long; the message ends with the last lines of its log.
        EndedElsewhereError: another command has stopped the pipeline.
    """
    started = time.monotonic()
    readiness = Readiness(settings, report)
    while not readiness.settled:
        try:
            programs = [program for program in supervisor.programs() if program.name not in before]
        except LocalModeError:
            if supervisor.processes():
                raise
            raise EndedElsewhereError from None
        elapsed_s = time.monotonic() - started
        readiness.look(programs, elapsed_s)
        failed, waiting = readiness.failed, readiness.waiting
        if failed or (waiting and elapsed_s > _READY_S):
            program = (failed or waiting)[0]
            log = settings.directory / "logs" / f"{program.name}.log"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:]) if log.exists() else ""
            problem = "failed" if failed else f"was not ready after {_READY_S:.0f} s"
            advice = f"see {log}"
            if "HTTP_PORT=" in tail:
                advice = (
                    f"here /health's ports begin at LOCAL_HTTP_PORT, {settings.http_port}: set another one; {advice}"
                )
            raise LocalModeError(f"{program.name} {problem}; its log ends with:\n{tail}", advice=advice)
        time.sleep(_POLL_S)
