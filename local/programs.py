"""The programs of a pipeline, and the supervisor's configuration that runs them.

Each replica is a separate program, so that the supervisor can add and remove replicas without restarting the others.
"""

import re
import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from local.jars import kafka_libs
from local.kafka_files import KafkaFiles
from local.kraft_files import KraftFiles, kafka_4_libs
from local.paths import ROOT
from local.settings import LocalSettings

ENTRY_FILES = {
    "generator": "services/generator/event_generator.py",
    "processor": "services/processor/order_processor.py",
    "analytics": "services/analytics/analytics_engine.py",
    "sink": "services/sink/data_sink.py",
}
STARTED_FILES = ENTRY_FILES | {"live": "live/__main__.py"}
SCALABLE = ("processor", "analytics")
INFRASTRUCTURE = frozenset({"zookeeper", "kafka"})

# A service that has run for this time counts as started.
SERVICE_STARTED_AFTER_S = 2
# The time between SIGTERM and SIGKILL.
SERVICE_GRACE_S = 25
KAFKA_GRACE_S = 30
ZOOKEEPER_GRACE_S = 10

_SUPERVISOR = """\
[supervisord]
nodaemon=true
silent=true
directory={root}
logfile={directory}/logs/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile={directory}/supervisord.pid

[unix_http_server]
file={socket}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

# The pauses between failed starts grow by a second each: a hundred of them take an hour and a half.
_PROGRAM = """
[program:{name}]
command={command}
priority={priority}
environment={environment}
autorestart={autorestart}
exitcodes={exitcodes}
startsecs={startsecs}
startretries=100
stopwaitsecs={stopwaitsecs}
redirect_stderr=true
stdout_logfile={directory}/logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""

Replicas = Mapping[str, int]


def replica_names(replicas: Replicas) -> list[str]:
    """Program names of the services: ``generator``, ``sink``, ``live``, and ``processor-1`` and so on; none without replicas."""
    if not replicas:
        return []
    scaled = [f"{service}-{number}" for service in SCALABLE for number in range(1, replicas[service] + 1)]
    return ["generator", *scaled, "sink", "live"]


def libs_of(settings: LocalSettings) -> Path:
    """The folder with the jars of the configured Kafka version, which the first call downloads."""
    return kafka_4_libs(settings.kafka_4) if settings.kafka_4 else kafka_libs()


def supervisor_config(settings: LocalSettings, replicas: Replicas, socket: Path) -> str:
    """The supervisor's configuration; also writes Kafka's configuration files."""
    sections = [_SUPERVISOR.format(root=ROOT, directory=settings.directory, socket=socket), *_kafka(settings)]
    for name in replica_names(replicas):
        service = name.partition("-")[0]
        options: dict[str, object] = {
            "priority": 3,
            "startsecs": SERVICE_STARTED_AFTER_S,
            "stopwaitsecs": SERVICE_GRACE_S,
        }
        if service == "generator":
            # With a count it ends by itself: exit code 0, however early, is not a failure. Exit code 2 is a bad setting, for
            # which a restart does not help.
            options |= {"autorestart": "unexpected", "exitcodes": "0,2", "startsecs": 0}
        command = [sys.executable, str(ROOT / STARTED_FILES[service])]
        sections.append(_program(settings, name, command, http_port=settings.http_port_of(name), **options))
    return "".join(sections)


def with_programs_of(running: str, config: str, names: Collection[str]) -> str:
    """The configuration ``config`` with the programs ``names`` as ``running`` has them."""
    kept = {_name_of(section): section for section in _sections(running)}
    return "".join(
        kept.get(name, section) if (name := _name_of(section)) in names else section for section in _sections(config)
    )


def _sections(config: str) -> list[str]:
    return re.split(r"^(?=\[)", config, flags=re.MULTILINE)


def _name_of(section: str) -> str:
    return section.partition("]")[0].removeprefix("[program:")


def _kafka(settings: LocalSettings) -> list[str]:
    # ZooKeeper and Kafka count as started only after some seconds: after an earlier exit (see LocalBroker) the supervisor
    # restarts them with growing delays.
    directory, libs = settings.directory, libs_of(settings)
    kafka: KafkaFiles | KraftFiles
    sections = []
    if settings.kafka_4:
        kafka = KraftFiles(directory, libs, settings.kafka_port, settings.zookeeper_port)
    else:
        kafka = KafkaFiles(directory, libs, settings.kafka_port, settings.zookeeper_port)
        command = kafka.zookeeper_command
        sections.append(
            _program(settings, "zookeeper", command, priority=1, startsecs=3, stopwaitsecs=ZOOKEEPER_GRACE_S)
        )
    kafka.write()
    command = kafka.kafka_command
    return [*sections, _program(settings, "kafka", command, priority=2, startsecs=5, stopwaitsecs=KAFKA_GRACE_S)]


def _program(
    settings: LocalSettings, name: str, command: list[str], *, http_port: int | None = None, **options: object
) -> str:
    values = {
        "name": name,
        "command": shlex.join(command),
        "directory": settings.directory,
        "environment": "" if http_port is None else f'HTTP_PORT="{http_port}",LIVE_PORT="{http_port}"',
        "autorestart": "true",
        "exitcodes": "0",
        **options,
    }
    return _PROGRAM.format(**values)
