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
from local.probes import health_of, kafka_answers, zookeeper_answers
from local.programs import Replicas, libs_of, replica_names, supervisor_config
from local.settings import LocalSettings
from local.supervision import Program, Supervisor

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
    """Wait until all programs respond, except those that ran ``before``; report each one.

    Raises:
        LocalModeError: one of them failed, or took too long; the message ends with the last lines of its log.
        EndedElsewhereError: another command has stopped the pipeline.
    """
    started = time.monotonic()
    ready = set(before)
    while True:
        try:
            programs = supervisor.programs()
        except LocalModeError:
            if supervisor.processes():
                raise
            raise EndedElsewhereError from None
        for program in programs:
            if program.name not in ready and _is_ready(settings, program):
                ready.add(program.name)
                report(f"  {program.name:<14}{'ready':<8}{time.monotonic() - started:5.1f} s")
        # Programs that others depend on come first, so that a message names the cause.
        waiting = sorted((each for each in programs if each.name not in ready), key=_needed_first)
        if not waiting:
            return
        failed = [program for program in waiting if _has_failed(program)]
        if failed or time.monotonic() - started > _READY_S:
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


def _needed_first(program: Program) -> int:
    order = ("zookeeper", "kafka")
    return order.index(program.name) if program.name in order else len(order)


def _is_ready(settings: LocalSettings, program: Program) -> bool:
    if program.name == "zookeeper":
        return zookeeper_answers(settings.zookeeper_port)
    if program.name == "kafka":
        return kafka_answers(settings.kafka_port)
    # The generator may have ended after its configured count.
    ended_well = program.state == "EXITED" and program.exit_code == 0
    return ended_well or (program.state == "RUNNING" and health_of(settings.http_port_of(program.name)) == "ok")


def _has_failed(program: Program) -> bool:
    """Whether a program has failed. Services wait for their dependencies, so one that ends has a bad setting or a bug.

    ZooKeeper and Kafka may need more than one start after a crash.
    """
    is_service = program.name not in {"zookeeper", "kafka"}
    return program.state == "FATAL" or (is_service and program.state in {"BACKOFF", "EXITED"})
