"""The sink against a real broker: whatever happens to it, the file equals the topic's committed metrics."""

import asyncio
import itertools
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics
from tests.integration.services import ServiceProcess, eventually

PARTITIONS = 6


class Metrics:
    """Writes metrics in transactions, as the analytics does, and keeps the committed ones."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._number = 0
        self.committed: list[bytes] = []

    async def write(self, count: int, *, commit: bool = True) -> None:
        values = [self._next() for _ in range(count)]
        await self.write_values(values, commit=commit)
        if commit:
            self.committed += values

    async def write_values(self, values: Sequence[bytes | None], *, commit: bool = True) -> None:
        await self._producer.begin_transaction()
        sent = [
            await self._producer.send(self._topic, value, key=b"product", partition=number % PARTITIONS)
            for number, value in enumerate(values)
        ]
        await asyncio.gather(*sent)
        await (self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    def _next(self) -> bytes:
        self._number += 1
        start = 60 * self._number
        return encode_metric(ProductMetric(start, start + 60, f"product-{self._number % 5}", self._number, 1050))


class Pipeline:
    """The topic, the output, and the settings of a sink."""

    def __init__(self, kafka: str, topic_prefix: str, folder: Path) -> None:
        self.kafka = kafka
        self.topic = topic_prefix + PRODUCT_METRICS.name
        self.group = topic_prefix + "sink"
        self.path = folder / "output" / "metrics.json"
        self._folder = folder
        self._settings = ServiceSettings(kafka_bootstrap_servers=kafka, topic_prefix=topic_prefix)
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "TOPIC_PREFIX": topic_prefix,
            "SINK_OUTPUTS": "file",
            "SINK_OUTPUT_PATH": str(self.path),
        }

    def sink(self) -> ServiceProcess:
        return ServiceProcess("sink", self._folder, self.env)

    async def make_topic(self) -> None:
        await ensure_topics(self._settings, [PRODUCT_METRICS])

    async def recreate_topic(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            await admin.delete_topics([self.topic])

            async def is_deleted() -> bool:
                return self.topic not in await admin.list_topics()

            await eventually(is_deleted, what="the topic is deleted")
        finally:
            await admin.close()
        await self.make_topic()

    @asynccontextmanager
    async def metrics(self) -> AsyncIterator[Metrics]:
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, transactional_id=f"{self.topic}-test")
        await producer.start()
        try:
            yield Metrics(producer, self.topic)
        finally:
            await producer.stop()

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []

    async def wait_for_lines(self, beyond: int) -> None:
        await eventually(lambda: len(self.lines()) > beyond, what=f"more than {beyond} lines")

    async def wait_until_written(self, metrics: Metrics) -> None:
        """Wait until the file has as many lines as there are metrics; then they must be the same."""
        await eventually(lambda: len(self.lines()) >= len(metrics.committed), what="the metrics are in the file")
        assert sorted(self.lines()) == sorted(metrics.committed)


@pytest.fixture
async def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topic()
    return pipeline


async def test_committed_metrics_are_written_soon_and_aborted_ones_never(pipeline: Pipeline) -> None:
    async with pipeline.metrics() as metrics, pipeline.sink() as sink:
        await metrics.write(7)
        await metrics.write(7, commit=False)
        await pipeline.wait_until_written(metrics)
        await sink.healthy()
        await metrics.write(5)
        await eventually(lambda: len(pipeline.lines()) == 12, what="metrics are visible")
        await metrics.write(5, commit=False)
        sink.terminate()
        assert await sink.wait() == 0
        assert sorted(pipeline.lines()) == sorted(metrics.committed)


async def test_the_group_s_offsets_show_no_lag(pipeline: Pipeline) -> None:
    async with pipeline.metrics() as metrics, pipeline.sink() as sink:
        await metrics.write(12)
        await pipeline.wait_until_written(metrics)
        watcher = AIOKafkaConsumer(bootstrap_servers=pipeline.kafka, group_id=pipeline.group)
        await watcher.start()
        try:
            partitions = [TopicPartition(pipeline.topic, number) for number in range(PARTITIONS)]
            ends = await watcher.end_offsets(partitions)
            assert sum(ends.values()) > 12, "the markers of transactions count"

            async def no_lag() -> bool:
                return all([await watcher.committed(tp) == end for tp, end in ends.items()])

            await eventually(no_lag, what="the committed offsets reach the topic's end")
        finally:
            await watcher.stop()
        assert (await sink.health())[0] == 200


async def test_repeated_kills_while_metrics_arrive_lose_and_duplicate_nothing(pipeline: Pipeline) -> None:
    enough = asyncio.Event()
    async with pipeline.metrics() as metrics, pipeline.sink() as sink:

        async def produce() -> None:
            for number in itertools.count():
                if enough.is_set():
                    return
                await metrics.write(20, commit=number % 7 != 3)
                await asyncio.sleep(0.02)

        producing = asyncio.create_task(produce())
        for kill in range(4):
            seen = len(pipeline.lines())
            await pipeline.wait_for_lines(beyond=seen)
            await asyncio.sleep(0.013 * kill)
            sink.kill()
            await sink.wait()
            sink.start()
        await sink.wait_for("service started")
        enough.set()
        await producing
        await pipeline.wait_until_written(metrics)
        sink.terminate()
        assert await sink.wait() == 0
        assert sorted(pipeline.lines()) == sorted(metrics.committed)
        assert not list(pipeline.path.parent.glob("*.old")), "no crash made it start over"


async def test_a_second_sink_stands_by_and_takes_over(pipeline: Pipeline) -> None:
    async with pipeline.metrics() as metrics, pipeline.sink() as first:
        await metrics.write(10)
        await pipeline.wait_until_written(metrics)
        async with pipeline.sink() as second:
            await second.wait_for("standing by: another sink writes this output")
            await second.healthy()
            await metrics.write(10)
            await pipeline.wait_until_written(metrics)
            first.kill()
            await metrics.write(10)
            await second.wait_for("taking over the output")
            await pipeline.wait_until_written(metrics)
            await second.healthy()


async def test_the_file_is_deleted_or_replaced_while_it_runs(pipeline: Pipeline) -> None:
    async with pipeline.metrics() as metrics, pipeline.sink():
        await metrics.write(30)
        await pipeline.wait_until_written(metrics)
        pipeline.path.unlink()
        await pipeline.wait_until_written(metrics)
        pipeline.path.unlink()
        pipeline.path.write_bytes(b"a user's own\n")
        await metrics.write(10)
        await pipeline.wait_until_written(metrics)
        assert pipeline.path.with_name("metrics.json.1.old").read_bytes() == b"a user's own\n"
        for file in pipeline.path.parent.iterdir():
            file.unlink(missing_ok=True)  # a checkpoint that is being replaced
        await metrics.write(10)
        await pipeline.wait_until_written(metrics)


@pytest.mark.parametrize("metrics_then", [0, 60])
async def test_the_topic_is_recreated_while_the_sink_is_stopped(pipeline: Pipeline, metrics_then: int) -> None:
    async with pipeline.sink() as sink:
        async with pipeline.metrics() as metrics:
            await metrics.write(30)
            await pipeline.wait_until_written(metrics)
            before = pipeline.path.read_bytes()
        sink.terminate()
        assert await sink.wait() == 0
        await pipeline.recreate_topic()
        async with pipeline.metrics() as metrics:
            if metrics_then:
                await metrics.write(metrics_then)
            sink.start()
            await sink.wait_for("rewriting the metrics file from the beginning of the topic")
            await pipeline.wait_until_written(metrics)
            await metrics.write(6)
            await pipeline.wait_until_written(metrics)
        assert pipeline.path.with_name("metrics.json.1.old").read_bytes() == before


async def test_the_topic_is_recreated_while_the_sink_runs(pipeline: Pipeline) -> None:
    async with pipeline.sink() as sink:
        async with pipeline.metrics() as metrics:
            await metrics.write(30)
            await pipeline.wait_until_written(metrics)
        await pipeline.recreate_topic()
        async with pipeline.metrics() as metrics:
            await metrics.write(6)
            await sink.wait_for("rewriting the metrics file from the beginning of the topic")
            await pipeline.wait_until_written(metrics)


async def test_an_invalid_metric_does_not_stop_the_sink(pipeline: Pipeline) -> None:
    async with pipeline.metrics() as metrics, pipeline.sink() as sink:
        await metrics.write_values([b"?", None, b"[]", b"\xff", b"{" * 100_000, b""])
        await metrics.write(12)
        await pipeline.wait_until_written(metrics)

        def skipped_records() -> int:
            return sum(
                event["count"]
                for event in sink.events()
                if event["event"] == "records that are not metrics were left out"
            )

        await eventually(lambda: skipped_records() == 6)
        await sink.healthy()


async def test_the_sink_waits_while_the_disk_is_full(pipeline: Pipeline) -> None:
    async with pipeline.metrics() as metrics, pipeline.sink() as sink:
        await metrics.write(30)
        await pipeline.wait_until_written(metrics)
        size_bytes = pipeline.path.stat().st_size
        _, most = resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE)
        # Beyond this size writes fail, as on a full disk; the log is smaller.
        resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE, (20 * size_bytes + 1, most))
        for _ in range(25):
            await metrics.write(30)
        await sink.wait_for("interrupted")
        assert set(pipeline.lines()) <= set(metrics.committed)
        assert pipeline.path.read_bytes().endswith(b"\n")
        resource.prlimit(sink.process.pid, resource.RLIMIT_FSIZE, (most, most))
        await pipeline.wait_until_written(metrics)
        await sink.healthy()


async def test_an_unwritable_path_ends_the_sink_with_advice(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.env["SINK_OUTPUT_PATH"] = str(tmp_path)
    async with pipeline.sink() as sink:
        assert await sink.wait() == 1
        assert "choose another path" in (await sink.wait_for("service failed"))["advice"]
