"""compose.secure.yml: the complete stack with TLS, logins and ACLs, as a user starts it and accesses it from this machine."""

import http.client
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from libs.events.rights import ROLES
from local.ports import free_ports
from tests.compose.conftest import SETTINGS, USER
from tests.compose.container_cleanup import project_name
from tests.compose.groups import eventually
from tests.compose.project import ROOT, Project, docker, require_engine
from tests.compose.stack_checks import states
from tests.integration.services import HANGS_AFTER_S

FILES = ("docker-compose.yml", "compose.secure.yml")
JAVA = ("zookeeper", "kafka", "kafka-secrets", "kafka-setup")
SERVICES = ("generator", "processor", "analytics", "sink", "live", "prometheus")
HEALTHY = [(name, "healthy") for name in (*SERVICES, "kafka", "zookeeper")]
ONE_SHOT = [(name, "exited") for name in ("kafka-secrets", "kafka-setup")]
OWN = "a password of my own"


@pytest.fixture(scope="module")
def stack() -> Iterator[Project]:
    """One replica of each service; the sink's password is the user's own."""
    require_engine()
    directory = Path(tempfile.mkdtemp(prefix="secured-test-"))
    directory.chmod(0o755)
    output, passwords = directory / "output", directory / "passwords"
    for folder in (output, passwords):
        folder.mkdir()
    (passwords / "sink").write_text(OWN + "\n")
    if os.geteuid() == 0:
        os.chown(output, USER, USER)
    kafka_port, prometheus_port, live_port = free_ports(3)
    settings = SETTINGS | {
        "PIPELINE_PROMETHEUS_PORT": str(prometheus_port),
        "PIPELINE_LIVE_PORT": str(live_port),
        "COMPOSE_PROFILES": "monitoring",
        "KAFKA_PASSWORDS_DIR": str(passwords),
        "TOPIC_PREFIX": "shop-",
        "GENERATOR_BACKFILL_SECONDS": "0",
    }
    project = Project(project_name("secured"), kafka_port, output, settings, FILES, JAVA)
    with project.up(*SERVICES, directory=directory):
        yield project


def secret(project: Project, file: str) -> str:
    """The content of a file of the administrator, read by the command in docs/security.md."""
    command = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "cat", "kafka-setup", f"/run/kafka/{file}")
    return project.compose(*command)


def login(project: Project, directory: Path, role: str) -> dict[str, str]:
    """The settings of a tool on this machine, created as described in docs/security.md."""
    (directory / "ca.pem").write_text(secret(project, "ca.pem"))
    (directory / role).write_text(secret(project, f"passwords/{role}"))
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SSL_CA_FILE": str(directory / "ca.pem"),
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": project.settings["TOPIC_PREFIX"] + role,
        "KAFKA_SASL_PASSWORD_FILE": str(directory / role),
    }


def tool(project: Project, settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    names = ("TOPIC_PREFIX", "WINDOW_SECONDS")
    environment = os.environ | {name: project.settings[name] for name in names} | settings
    command = [sys.executable, "-m", "cli", *arguments, f"--bootstrap={project.bootstrap}"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2 * HANGS_AFTER_S, check=False
    )


def python_in(project: Project, service: str, code: str) -> str:
    return project.compose("exec", "-T", service, "python", "-c", code).strip()


async def test_all_containers_run_and_are_healthy(stack: Project) -> None:
    wanted = sorted(HEALTHY + ONE_SHOT)
    await eventually(
        lambda: states(stack), lambda seen: seen == wanted, "every service healthy, what sets up at its end"
    )
    for service in ("kafka-secrets", "kafka-setup"):
        (container,) = stack.containers(service)
        assert container["State"]["ExitCode"] == 0


def test_ports_are_published_on_loopback_only_and_the_live_page_responds(stack: Project) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], binding["HostIp"])
        for container in stack.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert published == {("kafka", "127.0.0.1"), ("live", "127.0.0.1"), ("prometheus", "127.0.0.1")}
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(stack.settings["PIPELINE_LIVE_PORT"]), timeout=HANGS_AFTER_S
    )
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()


def test_clients_without_a_login_are_rejected(stack: Project, tmp_path: Path) -> None:
    plain = tool(stack, {}, "verify")
    assert plain.returncode == 1
    assert "speaks TLS, KAFKA_SECURITY_PROTOCOL=PLAINTEXT does not fit" in plain.stderr
    wrong = login(stack, tmp_path, "viewer") | {"KAFKA_SASL_USERNAME": "shop-processor"}
    refused = tool(stack, wrong, "verify")
    assert refused.returncode == 1
    assert "refuses user 'shop-processor'" in refused.stderr


def test_each_principal_has_only_its_own_acls(stack: Project, tmp_path: Path) -> None:
    denied = tool(stack, login(stack, tmp_path, "viewer"), "recompute", "--yes")
    assert denied.returncode == 1
    assert "user 'shop-viewer' lacks a right in Kafka: DELETE on topic 'shop-processed-orders'" in denied.stderr


def test_only_kafka_reaches_zookeeper(stack: Project) -> None:
    (zookeeper,) = stack.containers("zookeeper")
    networks = zookeeper["NetworkSettings"]["Networks"]
    assert [name.rpartition("_")[2] for name in networks] == ["zookeeper"]
    (address,) = (network["IPAddress"] for network in networks.values())
    attempt = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 2181), timeout=3).close()
    print("connected")
except OSError as error:
    print("refused")
"""
    for host in ("zookeeper", address):
        code = f"import sys; sys.argv = ['', {host!r}]\n{attempt}"
        assert python_in(stack, "live", code) == "refused", host
    stack.compose("exec", "-T", "kafka", "nc", "-z", "zookeeper", "2181")


def test_each_service_has_only_its_own_secrets(stack: Project) -> None:
    for service in ("generator", "processor", "analytics", "sink", "live"):
        found = python_in(stack, service, "import os; print(sorted(os.listdir('/run/kafka')))")
        assert found == "['ca.pem', 'password']", service
    seen = {python_in(stack, service, "print(open('/run/kafka/password').read())") for service in ("live", "processor")}
    assert len(seen) == 2
    assert python_in(stack, "sink", "print(open('/run/kafka/password').read())") == OWN


def test_passwords_are_in_no_configuration_container_process_list_or_log(stack: Project) -> None:
    passwords = {role.name: secret(stack, f"passwords/{role.name}").strip() for role in ROLES}
    assert passwords.pop("sink") == OWN
    assert len(set(passwords.values())) == len(passwords)
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in passwords.values())
    texts = stack.compose("config") + stack.compose("logs", "--no-color")
    for container in stack.containers():
        texts += str(container)
        if container["State"]["Running"]:
            texts += docker("top", container["Id"], "-eo", "pid,args")
    for password in (OWN, *passwords.values()):
        assert password not in texts
    assert "PRIVATE KEY" not in texts


def test_the_result_is_exact_and_passwords_survive_a_restart(stack: Project, tmp_path: Path) -> None:
    settings = login(stack, tmp_path, "viewer")
    before = secret(stack, "passwords/viewer")
    changed = replace(stack, settings={**stack.settings, "KAFKA_PASSWORDS_DIR": os.devnull})
    changed.compose("up", "--detach", "--no-build", *SERVICES)
    assert secret(stack, "passwords/viewer") == before
    stack.compose("stop", "generator")
    verified = tool(stack, settings, "verify", f"--output={stack.metrics}", f"--wait-closed={HANGS_AFTER_S}")
    assert verified.returncode == 0, verified.stdout + verified.stderr
