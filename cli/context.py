"""Finds the pipeline for a command: by its options, else by the environment, else on this machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from dotenv import dotenv_values

from cli.database import default_database
from cli.errors import NoPipelineError, UsageError
from cli.options import PipelineOptions
from libs.runtime.errors import SettingsError
from libs.runtime.kafka_security.bootstrap_servers import parse_bootstrap_servers
from libs.runtime.logs import shown_setting
from local.paths import ROOT
from local.ports import port_setting
from local.probes import kafka_listens
from local.running import running_supervisor
from local.settings import LocalSettings, forget_kafka_security, local_directory
from local.supervision import Supervisor

COMPOSE_KAFKA_PORT = 9092
CATALOGUE = ROOT / "services" / "processor" / "catalogue.json"
_OUTPUT = Path("output")

Environment = Mapping[str, str]


class Origin(StrEnum):
    """How a pipeline was found. The value is shown to people and in JSON."""

    OPTION = "--bootstrap"
    ENVIRONMENT = "KAFKA_BOOTSTRAP_SERVERS"
    LOCAL = "local mode"
    COMPOSE = "Docker Compose"


@dataclass(frozen=True)
class Outputs:
    """Where the sink writes. None: the sink has no such output, or it cannot be read from this machine."""

    file: Path | None
    database_url: str | None = field(repr=False)
    database_password_file: Path | None


@dataclass(frozen=True)
class PipelineContext:
    """A pipeline: its cluster, and those of its settings that a reader needs."""

    origin: Origin
    bootstrap_servers: str
    topic_prefix: str
    window_seconds: int
    outputs: Outputs
    catalogue: Path


class Machine(Protocol):
    """What discovery reads from this machine; a fake in its tests."""

    def running_local_mode(self) -> LocalSettings | None:
        """The settings of the pipeline that runs in LOCAL_DIR; None if none runs."""

    def compose_environment(self) -> Environment:
        """The variables that Docker Compose uses: those of the shell, and those of `.env`."""

    def kafka_answers(self, port: int) -> bool:
        """Whether a broker listens on this port of 127.0.0.1, with or without TLS and login."""


class ThisMachine:
    """The real one."""

    def running_local_mode(self) -> LocalSettings | None:
        supervisor = Supervisor(local_directory())
        if not (supervisor.answers() or supervisor.processes()):
            return None
        running_supervisor()  # raises LocalModeError if the supervisor has ended and its programs have not
        return LocalSettings.of_running()

    def compose_environment(self) -> Environment:
        from_file = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value is not None}
        return from_file | dict(os.environ)

    def kafka_answers(self, port: int) -> bool:
        return kafka_listens(port)


def context_of(options: PipelineOptions) -> PipelineContext:
    """The pipeline for ``options`` and this process's environment.

    The broker of local mode has no authentication: the KAFKA_… security settings are removed from the environment then.

    Raises:
        NoPipelineError: none is named, and none is found.
        LocalModeError: the supervisor of local mode has ended, its programs have not.
        SettingsError: a setting has a wrong value.
        UsageError: the options contradict each other.
    """
    found = find_context(options, os.environ, ThisMachine())
    if found.origin is Origin.LOCAL:
        forget_kafka_security()
    return found


def find_context(options: PipelineOptions, environment: Environment, machine: Machine) -> PipelineContext:
    """As ``context_of``, but changes nothing."""
    if options.local:
        return _local(options, environment, local_settings(options, machine))
    if options.bootstrap:
        return _named(options, environment, options.bootstrap, Origin.OPTION)
    if servers := environment.get(Origin.ENVIRONMENT):
        return _named(options, environment, servers, Origin.ENVIRONMENT)
    if settings := machine.running_local_mode():
        return _local(options, environment, settings)
    compose = machine.compose_environment()
    port = _compose_port(compose)
    if machine.kafka_answers(port):
        return _compose(options, compose, port)
    raise NoPipelineError(
        f"no pipeline is running in {local_directory()}, and no broker answers at localhost:{port}",
        advice="`make run` or `docker compose up` starts one, --bootstrap host:port names another",
    )


def local_settings(options: PipelineOptions, machine: Machine) -> LocalSettings:
    """The settings of the pipeline in local mode, for ``options`` that ask for it.

    Raises:
        NoPipelineError: none is running.
        UsageError: the options name another pipeline as well.
    """
    if options.bootstrap:
        raise UsageError("--local and --bootstrap name two pipelines", advice="give one of them")
    settings = machine.running_local_mode()
    if settings is None:
        advice = "`make run` starts one"
        port = _compose_port(machine.compose_environment())
        if machine.kafka_answers(port):
            advice += (
                f"; a broker answers at localhost:{port}, as that of Docker Compose does: --bootstrap localhost:{port} names it"
                f" (BOOTSTRAP=localhost:{port} with make)"
            )
        raise NoPipelineError(f"no pipeline is running in {local_directory()}", advice=advice)
    return settings


def _compose_port(environment: Environment) -> int:
    return port_setting(environment, "PIPELINE_KAFKA_PORT", COMPOSE_KAFKA_PORT)


def window_seconds(options: PipelineOptions, environment: Environment) -> int:
    """The option, else WINDOW_SECONDS, else 60; raises SettingsError for a value that is not allowed."""
    if options.window_seconds:
        return options.window_seconds
    text = environment.get("WINDOW_SECONDS") or "60"
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise SettingsError(f"WINDOW_SECONDS={text!r}: a whole number from 1 is allowed")
    return int(text)


def _named(options: PipelineOptions, environment: Environment, servers: str, origin: Origin) -> PipelineContext:
    try:
        servers = parse_bootstrap_servers(servers)
    except ValueError as error:
        raise SettingsError(f"{shown_setting(origin, servers)}: {error}") from error
    # A missing file is a difference. Without its folder, as for a sink on another machine, it cannot be read from here.
    written = environment.get("SINK_OUTPUT_PATH") if _writes_file(environment) else None
    file = Path(written) if written and Path(written).parent.is_dir() else None
    return PipelineContext(
        origin=origin,
        bootstrap_servers=servers,
        topic_prefix=_prefix(options, environment),
        window_seconds=window_seconds(options, environment),
        outputs=Outputs(file, _database(environment), _password_file(environment)),
        catalogue=Path(environment.get("PROCESSOR_CATALOGUE_PATH") or CATALOGUE),
    )


def _local(options: PipelineOptions, environment: Environment, settings: LocalSettings) -> PipelineContext:
    return PipelineContext(
        origin=Origin.LOCAL,
        bootstrap_servers=settings.bootstrap_servers,
        topic_prefix=settings.topic_prefix if options.topic_prefix is None else options.topic_prefix,
        window_seconds=options.window_seconds or settings.window_seconds,
        outputs=Outputs(
            settings.sink_output_path if settings.writes_file else None,
            settings.sink_database_url if settings.writes_database else None,
            _password_file(environment),
        ),
        catalogue=settings.processor_catalogue_path,
    )


def _compose(options: PipelineOptions, environment: Environment, port: int) -> PipelineContext:
    output = ROOT / (environment.get("OUTPUT_DIR") or _OUTPUT)
    return PipelineContext(
        origin=Origin.COMPOSE,
        bootstrap_servers=f"localhost:{port}",
        topic_prefix=_prefix(options, environment),
        window_seconds=window_seconds(options, environment),
        outputs=Outputs(
            output / "metrics.json" if _writes_file(environment) else None,
            _database(environment, output),
            _password_file(environment),
        ),
        catalogue=ROOT / (environment.get("PROCESSOR_CATALOGUE_PATH") or CATALOGUE),
    )


def _prefix(options: PipelineOptions, environment: Environment) -> str:
    return environment.get("TOPIC_PREFIX", "") if options.topic_prefix is None else options.topic_prefix


def _writes_file(environment: Environment) -> bool:
    return "file" in (environment.get("SINK_OUTPUTS") or "file").lower()


def _database(environment: Environment, output: Path = _OUTPUT) -> str | None:
    if "database" not in environment.get("SINK_OUTPUTS", "").lower():
        return None
    return environment.get("SINK_DATABASE_URL") or default_database(output)


def _password_file(environment: Environment) -> Path | None:
    name = environment.get("SINK_DATABASE_PASSWORD_FILE")
    return Path(name) if name else None
