"""A worker for all tests of a file, and the pipeline's topics with a prefix for each test."""

import asyncio
import re
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from connect.register import connectors
from libs.events.topics import PRODUCT_METRICS
from tests.connect.worker import ConnectWorker
from tests.integration.pipeline import Pipeline
from tests.integration.services import ROOT
from tests.integration.test_sink import Metrics

JAVA = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_COMPOSE = (ROOT / "docker-compose.yml").read_text()


class Registration(NamedTuple):
    """The exit code and output of ``connect/register.py``."""

    code: int
    output: str


class ConnectPipeline(Pipeline):
    """A test's topics, and the connectors that ``connect/register.py`` registers for them."""

    def __init__(self, kafka: str, prefix: str, directory: Path, connect: ConnectWorker) -> None:
        super().__init__(kafka, prefix, directory)
        self.connect = connect

    async def register(self, *arguments: str) -> Registration:
        program = [sys.executable, str(ROOT / "connect" / "register.py"), "--url", self.connect.url, *arguments]
        process = await asyncio.create_subprocess_exec(
            *program,
            env={"TOPIC_PREFIX": self.prefix},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return Registration(process.returncode or 0, output.decode())

    async def registered(self) -> None:
        done = await self.register()
        assert done.code == 0, done.output

    def put(self, name: str, **changes: str) -> None:
        """Register a variant of ``metrics-file`` as ``name``, with the prefix before it."""
        config = connectors(self.prefix)[f"{self.prefix}metrics-file"] | changes
        status, answer = self.connect.worker.request("PUT", f"/connectors/{self.prefix}{name}/config", config)
        assert status < 300, answer

    def post(self, path: str) -> None:
        """Send a POST request for the connector ``metrics-file``."""
        status, answer = self.connect.worker.request("POST", f"/connectors/{self.prefix}metrics-file/{path}")
        assert status < 300, answer

    def states(self, name: str) -> Mapping[str, list[str]]:
        """The states of a connector and its tasks."""
        _, status = self.connect.worker.request("GET", f"/connectors/{self.prefix}{name}/status")
        if "connector" not in status:
            return {"connector": [], "tasks": []}
        return {"connector": [status["connector"]["state"]], "tasks": [task["state"] for task in status["tasks"]]}

    def path(self, file: str) -> Path:
        return self.connect.files / (self.prefix + file)

    def lines(self, file: str = "metrics.json") -> list[bytes]:
        """The complete lines of one of the files."""
        path = self.path(file)
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    @asynccontextmanager
    async def metrics(self) -> AsyncIterator[Metrics]:
        topic = self.prefix + PRODUCT_METRICS.name
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, transactional_id=f"{topic}-test")
        await producer.start()
        try:
            yield Metrics(producer, topic)
        finally:
            await producer.stop()

    async def committed(self, name: str) -> Mapping[TopicPartition, int]:
        """The committed offsets of a connector."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(f"connect-{self.prefix}{name}")
        finally:
            await admin.close()
        return {partition: committed.offset for partition, committed in offsets.items()}

    def is_healthy(self) -> bool:
        """The result of the container's health check."""
        [check] = re.findall(r'test: \[CMD-SHELL, "(.*:8083/connectors.*)"\]', _COMPOSE)
        command = check.replace("http://localhost:8083", self.connect.url).replace('\\"', '"').replace("$$", "$")
        return subprocess.run(["sh", "-c", command], check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def worker(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    prefix = f"test-{uuid.uuid4().hex[:10]}-"
    with ConnectWorker(kafka, tmp_path_factory.mktemp("connect"), prefix, JAVA) as worker:
        yield worker


@pytest.fixture
async def pipeline(kafka: str, topic_prefix: str, tmp_path: Path, worker: ConnectWorker) -> ConnectPipeline:
    pipeline = ConnectPipeline(kafka, topic_prefix, tmp_path, worker)
    await pipeline.make_topics()
    return pipeline
