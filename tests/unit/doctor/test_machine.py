"""The findings for facts about a machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doctor.finding import Finding, Level
from doctor.machine import machine_findings
from doctor.machine_facts import Disk, Docker, MachineFacts, Port, scripts_with_crlf

GIB = 1024**3
SUITABLE = MachineFacts(
    python=(3, 13),
    java=17,
    maven="3.8.7",
    docker=Docker("28.2.2", "2.37.1"),
    local_mode_runs=False,
    local_ports=(
        Port(19_092, "LOCAL_KAFKA_PORT", "Kafka in local mode", taken=False),
        Port(18_080, "LOCAL_HTTP_PORT", "generator in local mode", taken=False),
    ),
    compose_ports=(Port(9092, "PIPELINE_KAFKA_PORT", "Kafka in Docker", taken=False),),
    disks=(Disk(Path("/there"), "Kafka's data", 50 * GIB),),
    open_files=(1024, 1_048_576),
    odd_paths=(),
    scripts_with_crlf=(),
)


def findings_at(facts: MachineFacts, level: Level) -> list[Finding]:
    return [finding for finding in machine_findings(facts) if finding.level is level]


def test_a_suitable_machine_has_no_problems() -> None:
    findings = machine_findings(SUITABLE)
    assert {finding.level for finding in findings} == {Level.OK}
    assert [finding.subject for finding in findings] == [
        *("Python", "Java", "Maven", "Docker", "ports of local mode", "ports of Docker"),
        *("disk", "open files", "paths", "line ends"),
    ]


@pytest.mark.parametrize(
    ("change", "level", "subject", "message", "advice"),
    [
        ({"python": (3, 10)}, Level.PROBLEM, "Python", "Python 3.10", "remove .venv"),
        ({"python": (3, 15)}, Level.PROBLEM, "Python", "Python 3.15", "remove .venv"),
        ({"java": None}, Level.WARNING, "Java", "local mode needs it", "apt install"),
        ({"java": 11}, Level.WARNING, "Java", "Java 11", "JAVA_HOME"),
        ({"maven": None}, Level.WARNING, "Maven", "local mode needs it", "apt install maven"),
        ({"docker": Docker(None, None)}, Level.WARNING, "Docker", "not installed", "install"),
        ({"docker": Docker(None, None, "refused")}, Level.WARNING, "Docker", "no engine answers: refused", "start"),
        ({"docker": Docker("28", None)}, Level.WARNING, "Docker", "without Compose", "docker-compose-plugin"),
        ({"docker": Docker("28", "2.9.0")}, Level.WARNING, "Docker", "Compose 2.9.0", "update"),
        ({"docker": Docker("28", "2.20.3")}, Level.WARNING, "Docker", "2.21 or later is needed", "update"),
        ({"docker": Docker("28", "2.24.3")}, Level.WARNING, "Docker", "compose.secure.yml need 2.24.4", "update"),
        ({"disks": (Disk(Path("/d"), "it", GIB),)}, Level.WARNING, "disk", "1.0 GiB free for it", "make room"),
        ({"disks": (Disk(Path("/d"), "it", 1),)}, Level.PROBLEM, "disk", "0.0 GiB free for it", "make room"),
        ({"open_files": (256, 4096)}, Level.WARNING, "open files", "soft limit is 256", "ulimit -n"),
        ({"open_files": (-1, 512)}, Level.WARNING, "open files", "hard limit is 512", "limits.conf"),
        ({"odd_paths": ("not in /a,b",)}, Level.PROBLEM, "paths", "not in /a,b", "LOCAL_DIR"),
        ({"scripts_with_crlf": ("a.sh",)}, Level.PROBLEM, "line ends", "in a.sh", "core.autocrlf"),
        (
            {"local_ports": (Port(19_092, "LOCAL_KAFKA_PORT", "Kafka in local mode", taken=True),)},
            Level.WARNING,
            "ports of local mode",
            "port 19092 for Kafka in local mode is taken",
            "set LOCAL_KAFKA_PORT",
        ),
        (
            {"compose_ports": (Port(8080, "PIPELINE_LIVE_PORT", "the live page in Docker", taken=True),)},
            Level.WARNING,
            "ports of Docker",
            "port 8080 for the live page in Docker is taken",
            "set PIPELINE_LIVE_PORT",
        ),
    ],
)
def test_a_problem_is_reported_with_advice(
    change: Mapping[str, Any], level: Level, subject: str, message: str, advice: str
) -> None:
    [finding] = [each for each in machine_findings(replace(SUITABLE, **change)) if each.level is not Level.OK]
    assert (finding.level, finding.subject) == (level, subject)
    assert message in finding.message
    assert advice in finding.advice


def test_missing_java_and_docker_are_problems_only_if_both_are_missing() -> None:
    nothing = replace(SUITABLE, java=None, docker=Docker(None, None))
    assert [finding.subject for finding in findings_at(nothing, Level.PROBLEM)] == ["Java", "Docker"]
    assert not findings_at(nothing, Level.WARNING)


def test_ports_of_a_running_pipeline_are_not_reported_as_taken() -> None:
    taken = tuple(replace(port, taken=True) for port in SUITABLE.local_ports)
    assert not findings_at(replace(SUITABLE, local_ports=taken, local_mode_runs=True), Level.WARNING)
    broker = (replace(SUITABLE.compose_ports[0], taken=True, has_broker=True),)
    assert not findings_at(replace(SUITABLE, compose_ports=broker), Level.WARNING)


def test_scripts_with_windows_line_endings_are_found(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "setup.sh").write_bytes(b"#!/bin/sh\r\nset -eu\r\n")
    (tmp_path / "good.sh").write_bytes(b"#!/bin/sh\nprintf 'a\\r'\n")
    (tmp_path / "Makefile").write_bytes(b"all:\r\n")
    assert list(scripts_with_crlf(tmp_path)) == ["local/setup.sh", "Makefile"]
