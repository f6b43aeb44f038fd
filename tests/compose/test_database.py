"""Profile `database`: PostgreSQL and a sink of its own, in containers, as a user starts them."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from psycopg import errors

from libs.events.product_metrics import decode_metric
from local.ports import free_ports
from tests.compose.project import Project, require_engine
from tests.databases.probes import PostgresqlProbe
from tests.databases.topic import row_of
from tests.integration.services import eventually
from tests.integration.test_sink import Metrics

SERVICES = ("zookeeper", "kafka", "database-passwords", "database", "sink-database")


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """Kafka, the database and the sink that writes into it; nothing makes metrics but the test."""
    require_engine()
    output = Path(tempfile.mkdtemp(prefix="database-test-"))
    kafka_port, database_port = free_ports(2)
    settings = {"COMPOSE_PROFILES": "database", "PIPELINE_DATABASE_PORT": str(database_port), "TOPIC_PREFIX": ""}
    project = Project(f"database-test-{os.getpid()}", kafka_port, output, settings)
    try:
        project.compose("up", "--build", "--detach", "--wait", *SERVICES, timeout_s=280)
        yield project
    finally:
        project.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "1")
        shutil.rmtree(output)


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


async def test_what_is_in_the_topic_is_in_the_database_also_after_a_rebuild(project: Project) -> None:
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

        def all_there() -> bool:
            try:
                return sorted(probe.rows()) == wanted
            except psycopg.OperationalError:
                return False  # it is just being started again

        await eventually(all_there, what="the sink goes on after the restart")
        rebuild = ("python", "-m", "services.sink.rebuild_database", "--yes")
        assert "is empty" in project.compose("exec", "-T", "sink-database", *rebuild)
        await eventually(all_there, what="the database is filled from the topic's beginning")


def test_no_password_is_in_the_checkout_or_in_a_command_line(project: Project) -> None:
    password = project.compose("exec", "-T", "database", "cat", "/run/passwords/sink")
    assert len(password) == 48
    for container in project.containers():
        assert password not in str(container)
    assert password not in project.compose("logs", "--no-color")
    with pytest.raises(Exception, match="exit status"):
        project.compose("exec", "-T", "sink-database", "cat", "/run/passwords/admin")
