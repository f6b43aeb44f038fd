"""``python -m acls`` against a cluster, and the commands that it prints, run with Kafka's own tool."""

import asyncio
import shlex
import subprocess
from pathlib import Path

from libs.events.rights import PROCESSOR, SINK, VIEWER
from libs.runtime.rights.right import Resource
from local.jars import java_command, kafka_libs
from tests.security.acls.broker import AclBroker, acls_for
from tests.security.programs import Programs

PREFIX = "command-"


def test_it_creates_the_acls_that_it_prints(cluster: AclBroker, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "sink").write_text("battery staple\n")
    flags = (f"--bootstrap={cluster.broker.bootstrap_servers}", "--role=sink", f"--scram-passwords={tmp_path}")
    for _ in range(2):
        ended = programs.run("acls", tmp_path, {"TOPIC_PREFIX": PREFIX}, *flags)
        assert ended.code == 0, ended
        assert ended.output.splitlines()[-1] == f"{len(SINK.rights)} ACLs are there, 1 users have passwords"
    asyncio.run(cluster.revoke(acls_for(PREFIX, SINK)))  # each is there
    login = cluster.login(PREFIX, SINK.name) | {"KAFKA_SASL_PASSWORD": "battery staple"}
    ended = programs.run("metrics", tmp_path, login, "--source=topic")
    assert f"user '{PREFIX}sink' lacks a right in Kafka: READ on topic" in ended.output, "the user can log in"


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
    ended = programs.run("acls", tmp_path, {"TOPIC_PREFIX": PREFIX}, *flags)
    assert ended.code == 1
    assert f"no password can be read from '{tmp_path}/sink'" in ended.output


def test_kafkas_own_tool_accepts_the_printed_commands(cluster: AclBroker, programs: Programs, tmp_path: Path) -> None:
    flags = ("--print=commands", "--role=processor", f"--bootstrap={cluster.broker.bootstrap_servers}")
    printed = programs.run("acls", tmp_path, {"TOPIC_PREFIX": PREFIX}, *flags).output.splitlines()
    (tmp_path / "admin.properties").touch()
    for flag, resource in (("--transactional-id", Resource.TRANSACTIONAL_ID), (f"{PREFIX}late-orders", Resource.TOPIC)):
        (command,) = (line for line in printed if flag in shlex.split(line))
        java = [java_command(), "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_libs()}/*", "kafka.admin.AclCommand"]
        subprocess.run([*java, *shlex.split(command)[1:]], cwd=tmp_path, check=True, capture_output=True)
        rights = [
            right
            for right in PROCESSOR.rights
            if right.resource is resource and (resource is not Resource.TOPIC or right.name == "late-orders")
        ]
        asyncio.run(cluster.revoke(acls_for(PREFIX, PROCESSOR, only=rights)))  # each is there
