"""Complete pipelines whose programs have exactly the declared rights."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

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
from libs.events.topics import ALL_TOPICS, ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, KafkaAddress, client_arguments
from libs.runtime.rights.right import Operation, Right, Role
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics
from libs.runtime.transactions.connection import GROUP, BrokerConnection
from libs.runtime.transactions.producer import init_producer_id
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import HANGS_AFTER_S, ROOT, ServiceProcess, eventually
from tests.security.acls.broker import AclBroker, acls_for
from tests.security.programs import Programs

RATE = 100
SERVICES = (PROCESSOR, ANALYTICS, SINK)


class LoggedIn(Pipeline):
    """A pipeline whose services log in as their roles."""

    def __init__(self, cluster: AclBroker, prefix: str, directory: Path) -> None:
        super().__init__(cluster.broker.bootstrap_servers, prefix, directory)
        self.cluster = cluster

    def start(self, role: Role, **env: str) -> ServiceProcess:
        login: Any = self.cluster.login(self.prefix, role.name)
        return self.service(role.name, **login | env)

    def generator(self, count: int, **env: str) -> ServiceProcess:
        return self.start(GENERATOR, GENERATOR_RATE=str(RATE), GENERATOR_COUNT=str(count), **env)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, ServiceProcess]]:
        """Processor, analytics and sink."""
        async with AsyncExitStack() as stack:
            yield {role.name: await stack.enter_async_context(self.start(role)) for role in SERVICES}

    def unused(self, role: Role) -> list[str]:
        """The rights of ``role`` that no request has used; any of several programs may create a topic."""
        used = self.cluster.operations_used()
        return [
            right.described(self.prefix)
            for right in role.rights
            if right.operation is not Operation.CREATE and not _is_used(role, right, self.prefix, used)
        ]

    async def use(self, programs: Programs, role: Role, program: str, *arguments: str) -> str:
        """The output of a tool, which must exit with 0."""
        env = self.cluster.login(self.prefix, role.name) | {"WINDOW_SECONDS": str(self.window_s)}
        ended = await asyncio.to_thread(programs.run, program, self.directory, env, *arguments)
        assert ended.code == 0, ended.output
        return ended.output


def _right(role: Role, operation: Operation, name: str) -> Right:
    (right,) = (each for each in role.rights if (each.operation, each.name) == (operation, name))
    return right


async def test_the_declared_rights_are_sufficient_and_each_is_used(
    cluster: AclBroker, programs: Programs, tmp_path: Path
) -> None:
    pipeline = LoggedIn(cluster, "used-", tmp_path)
    pipeline.env |= {"SINK_OUTPUTS": "file,database", "SINK_DATABASE_URL": f"sqlite:///{tmp_path}/metrics.db"}
    await cluster.allow(acls_for(pipeline.prefix))
    async with pipeline.running() as services:
        async with pipeline.generator(500, GENERATOR_FAULTS="malformed=0.02") as generator:
            assert await generator.wait() == 0
        report = await pipeline.verify()
        assert report.sent == 500
        assert "prod-1" in await pipeline.use(programs, VIEWER, "metrics", "--source=topic")
        replay = ("dead-letters", "replay", "--all", "--yes")
        assert "replayed" in await pipeline.use(programs, DEAD_LETTERS, *replay)
        await pipeline.use(programs, DEAD_LETTERS, *replay)  # replayed letters are marked, and skipped
        assert "malformed" in await pipeline.use(programs, VIEWER, "dead-letters", "list")
        assert await _live_page_answers(pipeline) == 0
        await pipeline.send([(0, [orjson.dumps(order) for order in history(1, 1.0, seed=1, end_s=time.time() - 3600)])])
        verification = (f"--output={pipeline.output}", f"--wait-closed={HANGS_AFTER_S}")
        await pipeline.use(programs, VIEWER, "verify", *verification)
        await _send_a_foreign_record(pipeline)
        await eventually(lambda: not pipeline.unused(ANALYTICS), what="analytics has used each of its rights")
        for service in services.values():
            service.terminate()
            assert await service.wait() == 0
    await pipeline.delete_records(PRODUCT_METRICS.name, lambda end: end)  # so their age has to be asked for
    await pipeline.use(programs, VIEWER, "report", "2026-01-01", f"--folder={tmp_path}")
    address = cluster.login(pipeline.prefix, RECOMPUTE.name)["KAFKA_BOOTSTRAP_SERVERS"]
    await pipeline.use(programs, RECOMPUTE, "recompute", f"--bootstrap={address}", "--yes")
    assert {role.name: pipeline.unused(role) for role in ROLES if pipeline.unused(role)} == {}
    assert {name for _, operation, _, name in cluster.operations_used() if operation == "create"} >= {
        pipeline.prefix + topic.name for topic in ALL_TOPICS
    }


async def _send_a_foreign_record(pipeline: LoggedIn) -> None:
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        await producer.send_and_wait(pipeline.prefix + PROCESSED_ORDERS.name, b"foreign")


async def _live_page_answers(pipeline: LoggedIn) -> int:
    env = pipeline.cluster.login(pipeline.prefix, VIEWER.name) | {"LIVE_PORT": "0"}
    async with pipeline.service("sink", entry_file=ROOT / "live" / "__main__.py", **env) as live:
        await live.wait_for("Kafka answers")
        live.terminate()
        return await live.wait()


def _is_used(role: Role, right: Right, prefix: str, used: set[tuple[str, str, str, str]]) -> bool:
    operation = right.operation.name.replace("_", "").lower()
    resource = right.resource.name.replace("_", "").lower()
    name = prefix + right.name
    return any(
        each[:3] == (f"User:{prefix}{role.name}", operation, resource)
        and (each[3].startswith(name) if right.prefixed else each[3] == name)
        for each in used
    )


async def test_two_pipelines_on_one_cluster_are_isolated(cluster: AclBroker, tmp_path: Path) -> None:
    first, second = (LoggedIn(cluster, prefix, tmp_path / prefix) for prefix in ("first-", "second-"))
    for pipeline in (first, second):
        pipeline.directory.mkdir()
        await cluster.allow(acls_for(pipeline.prefix))
    async with first.running(), second.running():
        async with first.generator(200) as one, second.generator(200) as other:
            assert await one.wait() == await other.wait() == 0
        await first.verify()
        assert (await second.verify()).sent == 200
    strangers = [_kafka(cluster, first.prefix, role) for role in ROLES]
    for stranger in strangers:
        await _has_no_access(stranger, second.prefix)


def _kafka(cluster: AclBroker, prefix: str, role: Role) -> KafkaAddress:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in cluster.login(prefix, role.name).items():
            environment.setenv(name, value)
        return ServiceSettings(topic_prefix=prefix).kafka


async def _has_no_access(stranger: KafkaAddress, prefix: str) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(stranger))
    await admin.start()
    try:
        assert [topic for topic in await admin.list_topics() if topic.startswith(prefix)] == []
    finally:
        await admin.close()
    topics = [prefix + topic.name for topic in ALL_TOPICS]
    connection = await BrokerConnection.open(stranger)
    try:
        for transactional_id in ("processor-1-x-0", "analytics-1-x-0", "dead-letters-replay"):
            with pytest.raises(TransactionalIdAuthorizationFailed):
                await init_producer_id(connection, prefix + transactional_id)
        for group in ("processor", "analytics", "sink", "sink-database"):
            with pytest.raises(GroupAuthorizationFailedError):
                await connection.coordinator(GROUP, prefix + group)
    finally:
        await connection.close()
    producer = AIOKafkaProducer(**client_arguments(stranger), enable_idempotence=False)
    await producer.start()
    try:
        for topic in topics:
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()


async def test_a_right_revoked_at_run_time_ends_the_service_without_loss(cluster: AclBroker, tmp_path: Path) -> None:
    pipeline = LoggedIn(cluster, "taken-", tmp_path)
    await cluster.allow(acls_for(pipeline.prefix))
    async with pipeline.running() as services, pipeline.generator(1_000_000) as generator:
        for role, right in (
            (PROCESSOR, _right(PROCESSOR, Operation.WRITE, PROCESSED_ORDERS.name)),
            (PROCESSOR, _right(PROCESSOR, Operation.WRITE, "processor-")),
            (ANALYTICS, _right(ANALYTICS, Operation.READ, "analytics")),
            (SINK, _right(SINK, Operation.READ, PRODUCT_METRICS.name)),
            (GENERATOR, _right(GENERATOR, Operation.WRITE, ORDERS.name)),
        ):
            service = services.get(role.name, generator)
            await service.healthy()
            acls = acls_for(pipeline.prefix, role, only=[right])
            await cluster.revoke(acls)
            assert await service.wait() == 1
            failed = await service.wait_for("service failed")
            assert failed["error"] == (
                f"user '{pipeline.prefix}{role.name}' lacks a right in Kafka: {right.described(pipeline.prefix)}"
            )
            assert "Traceback" not in service.log.read_text()
            await cluster.allow(acls)
            if role is not GENERATOR:
                service.start()
        report = await pipeline.verify()
        assert report.sent > 0


async def test_services_without_the_right_to_create_topics_use_existing_ones(
    cluster: AclBroker, tmp_path: Path
) -> None:
    pipeline = LoggedIn(cluster, "made-", tmp_path)
    await cluster.allow(acls_for(pipeline.prefix, may_create=False))
    async with pipeline.start(PROCESSOR) as processor:
        assert await processor.wait() == 1
        failed = await processor.wait_for("service failed")
        for topic in ALL_TOPICS:
            assert f"CREATE on topic '{pipeline.prefix}{topic.name}'" in failed["error"]
        assert "created by someone else" in failed["advice"]
    await ensure_topics(pipeline.settings(), ALL_TOPICS)
    described = [right for role in ROLES for right in role.rights if right.operation is Operation.DESCRIBE_CONFIGS]
    await cluster.revoke(acls_for(pipeline.prefix, only=described))
    async with pipeline.running() as services:
        async with pipeline.generator(100) as generator:
            assert await generator.wait() == 0
        assert (await pipeline.verify()).sent == 100
        warning = await services[SINK.name].wait_for("the settings of topics could not be compared")
        assert (
            f"DESCRIBE_CONFIGS is not allowed: [Error 29] TopicAuthorizationFailedError: topic '{pipeline.prefix}"
            in (warning["error"])
        )
