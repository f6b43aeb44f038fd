"""Each right that a program needs is revoked on its own: the program ends, and names it. And ``python -m acls``.

Its printed commands run with Kafka's own tool.
"""

import asyncio
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.events.rights import (
    ANALYTICS,
    DEAD_LETTERS,
    GENERATOR,
    PROCESSOR,
    RECOMPUTE,
    ROLES,
    SINK,
    VIEWER,
)
from libs.events.topics import ALL_TOPICS, DEAD_LETTERS_REPLAYED, PRODUCT_METRICS, SINK_GROUPS
from libs.runtime.rights.right import Operation, Resource, Right, Role
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics
from local.jars import java_command, kafka_libs
from tests.security.acls.broker import AclBroker, acls_for
from tests.security.programs import Ended, Programs

PREFIX = "rights-"
COMMAND_PREFIX = "command-"
SERVICES = (GENERATOR, PROCESSOR, ANALYTICS, SINK)
COMMANDS = {
    VIEWER.name: ("verify",),
    DEAD_LETTERS.name: ("dead-letters", "replay", "--all", "--yes"),
    RECOMPUTE.name: ("recompute", "--yes"),
}


@pytest.fixture(scope="module", autouse=True)
def _everything_allowed(cluster: AclBroker) -> None:
    asyncio.run(cluster.allow(acls_for(PREFIX)))
    settings = ServiceSettings(kafka_bootstrap_servers=cluster.broker.bootstrap_servers, topic_prefix=PREFIX)
    asyncio.run(ensure_topics(settings, [*ALL_TOPICS, DEAD_LETTERS_REPLAYED]))


class ProgramsWithoutRight:
    """Runs programs while some right is missing."""

    def __init__(self, cluster: AclBroker, programs: Programs, directory: Path) -> None:
        self._cluster = cluster
        self._programs = programs
        self._directory = directory

    def run(self, role: Role, rights: tuple[Right, ...], program: str, *arguments: str, **env: str) -> Ended:
        env |= {"LOG_FORMAT": "json", "HTTP_PORT": "0", "LIVE_PORT": "0"} | self._cluster.login(PREFIX, role.name)
        if program == "recompute":
            arguments = (f"--bootstrap={env['KAFKA_BOOTSTRAP_SERVERS']}", *arguments)
        acls = acls_for(PREFIX, role, only=rights)
        asyncio.run(self._cluster.revoke(acls))
        try:
            return self._programs.run(program, self._directory, env, *arguments)
        finally:
            asyncio.run(self._cluster.allow(acls))

    def service(self, role: Role, *rights: Right, **env: str) -> dict[str, Any]:
        """The last log line of a service, which must end by itself."""
        env |= {
            "SINK_OUTPUT_PATH": str(self._directory / "metrics.json"),
            "SINK_DATABASE_URL": f"sqlite:///{self._directory / 'metrics.db'}",
            "GENERATOR_COUNT": "10",
            "GENERATOR_RATE": "10",
        } | env
        ended = self.run(role, rights, role.name, **env)
        assert ended.code == 1, ended
        assert "Traceback" not in ended.output
        last: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
        assert last["event"] == "service failed", last
        return last


@pytest.fixture
def programs_without(cluster: AclBroker, programs: Programs, tmp_path: Path) -> ProgramsWithoutRight:
    return ProgramsWithoutRight(cluster, programs, tmp_path)


def _needed(*roles: Role) -> Iterator[Any]:
    for role in roles:
        for right in role.needed:
            yield pytest.param(role, right, id=f"{role.name} without {right.described('')}")


def _message(role: Role, right: Right) -> str:
    return f"user '{PREFIX}{role.name}' lacks a right in Kafka: {right.described(PREFIX)}"


@pytest.mark.parametrize(("role", "right"), list(_needed(*SERVICES)))
def test_a_service_ends_and_names_the_missing_right(
    programs_without: ProgramsWithoutRight, role: Role, right: Right
) -> None:
    outputs = {group: output for output, group in SINK_GROUPS.items()}
    env = {"SINK_OUTPUTS": outputs[right.name]} if role is SINK and right.resource is Resource.GROUP else {}
    last = programs_without.service(role, right, **env)
    assert last["error"] == _message(role, right)
    assert f"python -m acls --role {role.name} --topic-prefix {PREFIX}" in last["advice"]


@pytest.mark.parametrize(("role", "right"), list(_needed(VIEWER, DEAD_LETTERS, RECOMPUTE)))
def test_a_command_prints_the_missing_right(programs_without: ProgramsWithoutRight, role: Role, right: Right) -> None:
    program, *arguments = COMMANDS[role.name]
    ended = programs_without.run(role, (right,), program, *arguments)
    assert ended.code == 1, ended
    assert _message(role, right) in ended.output
    assert "Traceback" not in ended.output
    assert len(ended.output.splitlines()) <= 2, ended.output


@pytest.mark.parametrize(
    "program",
    [
        ("status",),
        ("watch",),
        ("live",),
        ("metrics", "--source=topic"),
        ("report", "2026-11-21"),
        ("dead-letters", "list"),
    ],
)
def test_other_programs_of_the_viewer_role_print_the_missing_right(
    programs_without: ProgramsWithoutRight, program: tuple[str, ...]
) -> None:
    name = "orders-dlq" if program[0] == "dead-letters" else PRODUCT_METRICS.name
    right = next(right for right in VIEWER.needed if right.name == name)
    ended = programs_without.run(VIEWER, (right,), *program)
    assert ended.code == 1, ended
    assert _message(VIEWER, right) in ended.output
    assert "Traceback" not in ended.output


def test_all_missing_rights_are_named_at_once(programs_without: ProgramsWithoutRight) -> None:
    error = programs_without.service(ANALYTICS, *ANALYTICS.needed)["error"]
    assert [right for right in ANALYTICS.needed if right.described(PREFIX) not in error] == []


def test_describe_on_a_transactional_id_does_not_include_write(
    programs_without: ProgramsWithoutRight, cluster: AclBroker
) -> None:
    transactions = next(right for right in PROCESSOR.needed if right.resource is Resource.TRANSACTIONAL_ID)
    describing = Role(
        PROCESSOR.name, "", (Right(Operation.DESCRIBE, transactions.resource, transactions.name, prefixed=True),)
    )
    asyncio.run(cluster.allow(acls_for(PREFIX, describing)))
    try:
        assert programs_without.service(PROCESSOR, transactions)["error"] == _message(PROCESSOR, transactions)
    finally:
        asyncio.run(cluster.revoke(acls_for(PREFIX, describing)))


def test_every_role_is_tested() -> None:
    assert {*SERVICES} | {role for role in ROLES if role.name in COMMANDS} == {*ROLES}


def test_doctor_finds_the_missing_right_before_the_service_starts(programs_without: ProgramsWithoutRight) -> None:
    def found(*rights: Right) -> list[dict[str, str]]:
        ended = programs_without.run(PROCESSOR, rights, "doctor", "--role", PROCESSOR.name, "--json")
        report = json.loads(ended.output[ended.output.index("{") : ended.output.rindex("}") + 1])
        return [each for each in report["findings"] if each["subject"] == "rights"]

    right = PROCESSOR.needed[1]
    assert any(each["level"] == "problem" and right.described(PREFIX) in each["message"] for each in found(right))
    assert "all that processor needs" in [each["message"] for each in found()]


def test_the_command_creates_the_acls_that_it_prints(cluster: AclBroker, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "sink").write_text("battery staple\n")
    flags = (f"--bootstrap={cluster.broker.bootstrap_servers}", "--role=sink", f"--scram-passwords={tmp_path}")
    for _ in range(2):
        ended = programs.run("acls", tmp_path, {"TOPIC_PREFIX": COMMAND_PREFIX}, *flags)
        assert ended.code == 0, ended
        assert ended.output.splitlines()[-1] == f"{len(SINK.rights)} ACLs are there, 1 users have passwords"
    asyncio.run(cluster.revoke(acls_for(COMMAND_PREFIX, SINK)))  # each is there
    login = cluster.login(COMMAND_PREFIX, SINK.name) | {"KAFKA_SASL_PASSWORD": "battery staple"}
    ended = programs.run("metrics", tmp_path, login, "--source=topic")
    assert f"user '{COMMAND_PREFIX}sink' lacks a right in Kafka: READ on topic" in ended.output, "the user can log in"


def test_a_client_without_the_right_to_create_acls_gets_an_error(
    cluster: AclBroker, programs: Programs, tmp_path: Path
) -> None:
    ended = programs.run("acls", tmp_path, cluster.login("rights-", VIEWER.name), "--role=sink")
    assert ended.code == 1
    assert "lacks a right in Kafka: ALTER on the cluster" in ended.output


def test_the_error_for_a_missing_password_names_its_setting(
    cluster: AclBroker, programs: Programs, tmp_path: Path
) -> None:
    flags = (f"--bootstrap={cluster.broker.bootstrap_servers}", f"--scram-passwords={tmp_path}", "--role=sink")
    ended = programs.run("acls", tmp_path, {"TOPIC_PREFIX": COMMAND_PREFIX}, *flags)
    assert ended.code == 1
    assert f"no password can be read from '{tmp_path}/sink'" in ended.output


def test_kafkas_own_tool_accepts_the_printed_commands(cluster: AclBroker, programs: Programs, tmp_path: Path) -> None:
    flags = ("--print=commands", "--role=processor", f"--bootstrap={cluster.broker.bootstrap_servers}")
    printed = programs.run("acls", tmp_path, {"TOPIC_PREFIX": COMMAND_PREFIX}, *flags).output.splitlines()
    (tmp_path / "admin.properties").touch()
    for flag, resource in (
        ("--transactional-id", Resource.TRANSACTIONAL_ID),
        (f"{COMMAND_PREFIX}late-orders", Resource.TOPIC),
    ):
        (command,) = (line for line in printed if flag in shlex.split(line))
        java = [java_command(), "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_libs()}/*", "kafka.admin.AclCommand"]
        subprocess.run([*java, *shlex.split(command)[1:]], cwd=tmp_path, check=True, capture_output=True)
        rights = [
            right
            for right in PROCESSOR.rights
            if right.resource is resource and (resource is not Resource.TOPIC or right.name == "late-orders")
        ]
        asyncio.run(cluster.revoke(acls_for(COMMAND_PREFIX, PROCESSOR, only=rights)))  # each is there
