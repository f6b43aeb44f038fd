"""Collects facts about this machine and this checkout."""
# ruff: noqa: S603, S607 - this file runs programs to get their versions

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalModeError
from local.jars import java_command
from local.paths import check_path
from local.ports import is_taken, port_setting
from local.probes import kafka_listens
from local.programs import replica_names
from local.settings import LocalSettings

_TIMEOUT_S = 20.0
_SCRIPTS = ("*.sh", "*/*.sh", "services/*/*.sh", ".ci/run", "Makefile")
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True)
class Docker:
    """Versions, None for a part that does not answer; ``problem`` is the client's error message then."""

    engine: str | None
    compose: str | None
    problem: str = ""


@dataclass(frozen=True)
class Port:
    """A port that a start needs, and the setting that changes it. ``has_broker``: a Kafka broker listens on it."""

    number: int
    setting: str
    purpose: str
    taken: bool
    has_broker: bool = False


@dataclass(frozen=True)
class Disk:
    """Free space for a folder, which may not exist yet."""

    folder: Path
    purpose: str
    free_bytes: int


@dataclass(frozen=True)
class MachineFacts:
    """A version is None if the program is missing or does not run."""

    python: tuple[int, int]
    java: int | None
    maven: str | None
    docker: Docker
    local_mode_runs: bool
    local_ports: tuple[Port, ...]
    compose_ports: tuple[Port, ...]
    disks: tuple[Disk, ...]
    open_files: tuple[int, int]
    """The soft and the hard limit; -1 for none."""
    odd_paths: tuple[str, ...]
    scripts_with_crlf: tuple[str, ...]


def collect_machine_facts(
    root: Path, local: LocalSettings, compose_environment: Mapping[str, str], *, local_mode_runs: bool
) -> MachineFacts:
    """All facts; takes a second, most of it for Java."""
    return MachineFacts(
        python=sys.version_info[:2],
        java=_java(),
        maven=_first_number(_output_of("mvn", "--version", "--quiet")),
        docker=_docker(),
        local_mode_runs=local_mode_runs,
        local_ports=tuple(_local_ports(local)),
        compose_ports=tuple(_compose_ports(compose_environment)),
        disks=(
            _disk(local.directory, "Kafka's data in local mode"),
            _disk(local.sink_output_path.parent, "the metrics"),
        ),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        odd_paths=tuple(_odd_paths(root, local.directory)),
        scripts_with_crlf=tuple(scripts_with_crlf(root)),
    )


def scripts_with_crlf(root: Path) -> Iterator[str]:
    """Scripts with Windows line ends: the shell takes the carriage return as part of the last word."""
    for pattern in _SCRIPTS:
        for script in sorted(root.glob(pattern)):
            if b"\r\n" in script.read_bytes():
                yield str(script.relative_to(root))


def _java() -> int | None:
    found = re.search(r'version "(\d+)', _output_of(java_command(), "-version"))
    return int(found[1]) if found else None


def _docker() -> Docker:
    if shutil.which("docker") is None:
        return Docker(None, None)
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Docker(None, None, str(error))
    if done.returncode:
        return Docker(None, None, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    compose = _first_number(_output_of("docker", "compose", "version", "--short"))
    return Docker(done.stdout.strip(), compose)


def _output_of(*command: str) -> str:
    """Standard output and standard error; empty if the command is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout + done.stderr


def _first_number(text: str) -> str | None:
    found = _NUMBER.search(text)
    return found[0] if found else None


def _local_ports(local: LocalSettings) -> Iterator[Port]:
    yield _port(local.kafka_port, "LOCAL_KAFKA_PORT", "Kafka in local mode")
    yield _port(local.zookeeper_port, "LOCAL_ZOOKEEPER_PORT", "ZooKeeper in local mode")
    for name in replica_names({"processor": 2, "analytics": 1}):
        yield _port(local.http_port_of(name), "LOCAL_HTTP_PORT", f"{name} in local mode")


def _compose_ports(environment: Mapping[str, str]) -> Iterator[Port]:
    for setting, default, purpose in (
        ("PIPELINE_KAFKA_PORT", 9092, "Kafka in Docker"),
        ("PIPELINE_LIVE_PORT", 8080, "the live page in Docker"),
    ):
        yield _port(port_setting(environment, setting, default), setting, purpose)


def _port(number: int, setting: str, purpose: str) -> Port:
    taken = is_taken(number)
    return Port(number, setting, purpose, taken, has_broker=taken and kafka_listens(number))


def _disk(folder: Path, purpose: str) -> Disk:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return Disk(folder, purpose, shutil.disk_usage(existing).free)


def _odd_paths(*paths: Path) -> Iterator[str]:
    for path in paths:
        try:
            check_path(path)
        except LocalModeError as error:
            yield str(error)
