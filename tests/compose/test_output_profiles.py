"""Profiles `database` and `connect`: PostgreSQL with a sink of its own, and Kafka Connect, as a user starts them."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from psycopg import errors

from libs.events.product_metrics import decode_metric
from local.ports import free_ports
from tests.compose.container_cleanup import project_name
from tests.compose.groups import eventually as seen
from tests.compose.project import DockerError, Project, require_engine
from tests.databases.probes import PostgresqlProbe
from tests.databases.topic import row_of
from tests.integration.services import eventually
from tests.integration.test_sink import Metrics

SERVICES = ("zookeeper", "kafka", "database-passwords", "database", "sink-database")
OWNER = 1001  # owner and group of the output folder if the tests run as root; not the user of the image


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """Kafka, the database with its sink, and Kafka Connect; only the test writes metrics."""
    require_engine()
    output = Path(tempfile.mkdtemp(prefix="outputs-test-"))
    if os.geteuid() == 0:
        os.chown(output, OWNER, OWNER)
    kafka_port, database_port, connect_port = free_ports(3)
    settings = {
        "COMPOSE_PROFILES": "database,connect",
        "PIPELINE_DATABASE_PORT": str(database_port),
        "PIPELINE_CONNECT_PORT": str(connect_port),
        "TOPIC_PREFIX": "",
    }
    project = Project(project_name("outputs"), kafka_port, output, settings, java=("zookeeper", "kafka", "connect"))
    with project.up(*SERVICES, directory=output, options=["--wait"]):
        yield project


@asynccontextmanager
async def metrics_of(project: Project) -> AsyncIterator[Metrics]:
    producer = AIOKafkaProducer(bootstrap_servers=project.bootstrap, transactional_id="database-test")
    await producer.start()
    try:
        yield Metrics(producer, "product-metrics")
    finally:
        await producer.stop()


def analyst(project: Project) -> PostgresqlProbe:
    password = project.compose("exec", "-T", "database", "cat", "/run/passwords/analyst")
    port = project.settings["PIPELINE_DATABASE_PORT"]
    return PostgresqlProbe(f"postgresql://analyst:{password}@127.0.0.1:{port}/metrics")


async def test_the_database_equals_the_topic_before_and_after_a_rebuild(project: Project) -> None:
    async with metrics_of(project) as metrics:
        await metrics.write(30)
        await metrics.write(30, commit=False)
        probe = analyst(project)
        wanted = sorted(map(row_of, metrics.committed))
        await eventually(lambda: len(probe.rows()) >= len(wanted))
        assert sorted(probe.rows()) == wanted == sorted(map(decode_metric, metrics.committed))
        assert probe.query("select count(*) from revenue_share") == [(5,)]
        with pytest.raises(errors.ReadOnlySqlTransaction):
            probe.query("delete from product_metrics")

        project.compose("restart", "--timeout", "5", "database")
        await metrics.write(30)
        wanted = sorted(map(row_of, metrics.committed))

        def all_rows_written() -> bool:
            try:
                return sorted(probe.rows()) == wanted
            except psycopg.OperationalError:
                return False  # it is restarting

        await eventually(all_rows_written, what="the sink continues after the restart")
        # As documented: `exec` is refused while the sink restarts, and a sink that finds another topic's metrics does so again and again.
        rebuild = ("python", "-m", "services.sink.rebuild_database", "--yes")
        project.compose("stop", "sink-database")
        assert "is empty" in project.compose("run", "--rm", "-T", "sink-database", *rebuild)
        project.compose("start", "sink-database")
        await eventually(all_rows_written, what="the database is filled from the topic's beginning")


async def test_connect_writes_the_metrics_and_the_registration_is_idempotent(project: Project) -> None:
    project.compose("up", "--detach", "connect", "connect-register")

    await in_state(
        project,
        "connect-register",
        lambda state: (state["Status"], state["ExitCode"]) == ("exited", 0),
        "the connectors are registered",
    )
    file = project.output / "connect" / "metrics.json"
    async with metrics_of(project) as metrics:
        await metrics.write(30, commit=False)
        await metrics.write(30)
        wanted = metrics.committed
        await eventually(lambda: file.exists() and set(lines(file)) >= set(wanted), what="the metrics are in the file")
    written = lines(file)
    assert len(written) == len(set(written))
    again = project.compose("run", "--rm", "-T", "connect-register")
    assert again.count("registered already") == 2
    assert "metrics-file: connector RUNNING, tasks RUNNING" in again
    await in_state(project, "connect", lambda state: state["Health"]["Status"] == "healthy", "the worker is healthy")


def test_connects_files_belong_to_the_group_of_the_output_folder(project: Project) -> None:
    folder = project.output / "connect"
    assert {path.stat().st_gid for path in (folder, *folder.iterdir())} == {project.output.stat().st_gid}
    assert {path.stat().st_uid for path in folder.iterdir()} == {1000}, "the image's own user"


async def in_state(project: Project, service: str, is_right: Callable[[dict[str, Any]], bool], what: str) -> None:
    """Wait until the service's container has the expected state."""

    async def state() -> dict[str, Any]:
        [container] = project.containers(service)
        return dict(container["State"])

    await seen(state, is_right, what)


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().split(b"\n")[:-1]


def test_no_password_is_in_the_checkout_or_on_a_command_line(project: Project) -> None:
    password = project.compose("exec", "-T", "database", "cat", "/run/passwords/sink")
    assert len(password) == 48
    for container in project.containers():
        assert password not in str(container)
    assert password not in project.compose("logs", "--no-color")
    # Compose starts a container again that has ended, at each `up`.
    project.compose("up", "--detach", "--wait", *SERVICES)
    assert analyst(project).rows() is not None
    with pytest.raises(DockerError, match=r"(?i)permission denied|no such file"):
        project.compose("exec", "-T", "sink-database", "cat", "/run/passwords/admin")
