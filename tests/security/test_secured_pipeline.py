"""The complete pipeline and its tools, each with another login method, with sessions that end after two seconds."""

import asyncio
import http.client
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from libs.runtime.kafka_security.security import KafkaAddress, KafkaSecurity
from libs.runtime.kafka_security.tls import ReloadingTls, TlsFiles
from libs.runtime.secret import Secret
from libs.runtime.transactions.connection import BrokerConnection
from local.ports import free_ports
from tests.integration.pipeline import Pipeline
from tests.integration.services import HANGS_AFTER_S, ROOT, ServiceProcess, eventually
from tests.security.broker import PASSWORD, REAUTH_MS, USER, SecuredBroker
from tests.security.programs import Programs
from tests.security.tokens import token_endpoint

_COUNT, _RATE = 1000, 100


class Tool:
    """A command that reads the pipeline from outside, logged in with SCRAM."""

    def __init__(self, secured: SecuredBroker, pipeline: Pipeline, programs: Programs) -> None:
        self._programs = programs
        self._directory = pipeline.directory
        self._flags = (f"--bootstrap={secured.at('SCRAM')}", f"--topic-prefix={pipeline.prefix}")
        self._env = secured.scram() | {"WINDOW_SECONDS": str(pipeline.window_s)}

    async def run(self, program: str, *arguments: str) -> str:
        """Its output; it must exit with 0."""
        ended = await asyncio.to_thread(
            self._programs.run, program, self._directory, self._env, *arguments, *self._flags
        )
        assert ended.code == 0, ended.output
        return ended.output

    async def watch(self) -> str:
        """The first two lines of the view."""
        command = [sys.executable, "-m", "cli", "watch", *self._flags]
        watch = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=os.environ | self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert watch.stdout is not None
        async with asyncio.timeout(HANGS_AFTER_S):
            lines = [(await watch.stdout.readline()).decode() for _ in range(2)]
        watch.send_signal(signal.SIGINT)
        await watch.communicate()
        assert watch.returncode == 0
        return "".join(lines)


async def test_connections_are_replaced_before_their_sessions_end(secured: SecuredBroker) -> None:
    context = TlsFiles(secured.authority.file).context()
    login = {"sasl_plain_username": USER, "sasl_plain_password": PASSWORD, "sasl_mechanism": "SCRAM-SHA-512"}
    left_alone: Any = await create_conn(
        "127.0.0.1", secured.ports["SCRAM"], security_protocol="SASL_SSL", ssl_context=context, **login
    )
    security = KafkaSecurity(
        "SASL_SSL", "SCRAM-SHA-512", USER, Secret("S", PASSWORD), ReloadingTls(TlsFiles(secured.authority.file))
    )
    connection = await BrokerConnection.open(KafkaAddress(secured.at("SCRAM"), security))
    try:
        (broker,) = connection.brokers()
        for _ in range(2):
            await connection.send(broker, MetadataRequest([]))
            await asyncio.sleep(1.2 * REAUTH_MS / 1000)
        with pytest.raises(KafkaConnectionError):
            await left_alone.send(MetadataRequest([]))
    finally:
        await connection.close()
        await left_alone.close()


async def live_snapshot(port: int) -> dict[str, object]:
    def ask() -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANGS_AFTER_S)
        try:
            connection.request("GET", "/snapshot")
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def test_everything_works_over_secured_listeners_and_is_exact(
    secured: SecuredBroker, programs: Programs, topic_prefix: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(secured.broker.bootstrap_servers, topic_prefix, tmp_path)
    tool = Tool(secured, pipeline, programs)
    (live_port,) = free_ports(1)
    async with AsyncExitStack() as stack:

        async def start(name: str, listener: str, settings: dict[str, str], **env: str) -> ServiceProcess:
            env |= settings | {"KAFKA_BOOTSTRAP_SERVERS": secured.at(listener)}
            entry_file = ROOT / "live" / "__main__.py" if env.pop("live", "") else None
            return await stack.enter_async_context(pipeline.service(name, entry_file=entry_file, **env))

        tokens = stack.enter_context(token_endpoint(lifetime_s=5))
        processor = await start("processor", "SCRAM", secured.scram())
        analytics = await start("analytics", "OAUTH", tokens.settings())
        sink = await start("sink", "MUTUAL", secured.mutual_tls())
        generator = await start(
            "generator",
            "PLAIN",
            secured.plain(),
            GENERATOR_RATE=str(_RATE),
            GENERATOR_COUNT=str(_COUNT),
            GENERATOR_FAULTS="malformed=0.02",
        )
        live = await start("sink", "SCRAM", secured.scram(), live="yes", LIVE_PORT=str(live_port))
        assert await generator.wait() == 0
        report = await pipeline.verify()
        assert report.sent == _COUNT
        assert tokens.issued > 1

        assert "malformed" in await tool.run("dead-letters", "list")
        assert "replayed" in await tool.run("dead-letters", "replay", "--reason=malformed", "--yes")
        await tool.run("verify", f"--output={pipeline.output}", "--wait-closed=600")
        assert "prod-1" in await tool.run("metrics", "--source=topic")
        assert "orders" in await tool.watch()

        async def page_is_up() -> bool:
            return (await live_snapshot(live_port))["orders"] is not None

        await live.wait_for("Kafka answers")
        await eventually(page_is_up)
        for service in (processor, analytics, sink, live):
            service.terminate()
            assert await service.wait() == 0
        await tool.run("recompute", "--yes")
