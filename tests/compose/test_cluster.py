"""`docker compose -f docker-compose.yml -f compose.cluster.yml up --build`: three brokers, one of which is cut off."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from libs.events.topics import ALL_TOPICS
from local.ports import free_ports
from tests.compose.conftest import SETTINGS, USER
from tests.compose.container_cleanup import project_name
from tests.compose.project import Project, docker, require_engine
from tests.compose.stack_checks import assert_exact, states
from tests.integration.services import eventually

BROKERS = ("kafka", "kafka-2", "kafka-3")
SERVICES = ("zookeeper", *BROKERS, "generator", "processor", "analytics", "sink")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Project]:
    """Three brokers and the four services."""
    require_engine()
    output = Path(tempfile.mkdtemp(prefix="cluster-test-"))
    output.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(output, USER, USER)
    first, second, third = free_ports(3)
    settings = SETTINGS | {
        "PIPELINE_KAFKA_2_PORT": str(second),
        "PIPELINE_KAFKA_3_PORT": str(third),
        "GENERATOR_BACKFILL_SECONDS": "",
    }
    files = ("docker-compose.yml", "compose.cluster.yml")
    java = ("zookeeper", "kafka", "kafka-2", "kafka-3")
    project = Project(project_name("cluster"), first, output, settings, files, java)
    with project.up(*SERVICES, directory=output):
        yield project


async def wait_for_more_metrics(cluster: Project) -> None:
    def lines() -> int:
        return cluster.metrics.read_bytes().count(b"\n") if cluster.metrics.exists() else 0

    before = lines()
    await eventually(lambda: lines() > before, what="more metrics are in the file")


async def replicas_in_sync(cluster: Project) -> set[int]:
    """The numbers of in-sync replicas over all partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    try:
        await admin.start()
        topics = await admin.describe_topics([topic.name for topic in ALL_TOPICS])
    except (KafkaError, OSError):
        return set()
    finally:
        await admin.close()
    return {len(partition["isr"]) for topic in topics for partition in topic["partitions"]}


async def test_services_of_another_project_can_use_this_kafka(cluster: Project, tmp_path: Path) -> None:
    """compose.external-kafka.yml; the other project joins the network, as a user's containers may join that of a cluster."""
    network = tmp_path / "network.json"
    network.write_text(json.dumps({"networks": {"default": {"external": True, "name": f"{cluster.name}_default"}}}))
    output = Path(tempfile.mkdtemp(prefix="external-test-"))
    if os.geteuid() == 0:
        os.chown(output, USER, USER)
    servers = ",".join(f"{broker}:29092" for broker in BROKERS)
    settings = {
        **cluster.settings,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "TOPIC_PREFIX": "other-",
        "TOPIC_REPLICATION_FACTOR": "3",
    }
    files = ("docker-compose.yml", "compose.external-kafka.yml", str(network))
    other = Project(project_name("external"), cluster.kafka_port, output, settings, files, java=())
    services = ("generator", "processor", "analytics", "sink")
    with other.up(*services, directory=output):
        await wait_for_more_metrics(other)
        assert sorted(name for name, _ in await states(other)) == sorted(services)
        other.compose("stop", "generator")
        assert_exact(other, other.metrics)


async def test_topics_have_replication_factor_3_and_min_insync_replicas_2(cluster: Project) -> None:
    await wait_for_more_metrics(cluster)
    assert await replicas_in_sync(cluster) == {3}
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in ALL_TOPICS]
        found = {
            name: {entry[0]: entry[1] for entry in entries}
            for response in await admin.describe_configs(resources)
            for _, _, _, name, entries in response.resources  # type: ignore[attr-defined]  # aiokafka's base class has no fields
        }
    finally:
        await admin.close()
    for topic in ALL_TOPICS:
        assert found[topic.name]["min.insync.replicas"] == "2", topic.name
        assert found[topic.name]["unclean.leader.election.enable"] == "false", topic.name


async def test_no_order_is_lost_when_a_broker_is_partitioned_from_the_network(cluster: Project) -> None:
    """Cut off from the other brokers, ZooKeeper and all clients, it keeps running and considers itself a leader."""
    network = f"{cluster.name}_default"
    (container,) = cluster.containers("kafka-2")
    docker("network", "disconnect", network, container["Id"])
    try:

        async def two_in_sync() -> bool:
            return await replicas_in_sync(cluster) == {2}

        await eventually(two_in_sync, what="the other two are in sync without it")
        await wait_for_more_metrics(cluster)
    finally:
        docker("network", "connect", "--alias", "kafka-2", network, container["Id"])

    async def all_three() -> bool:
        return await replicas_in_sync(cluster) == {3}

    await eventually(all_three, what="it has caught up")
    await wait_for_more_metrics(cluster)
    cluster.compose("stop", "generator")
    assert_exact(cluster, cluster.metrics)
