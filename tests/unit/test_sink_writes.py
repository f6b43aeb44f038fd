"""What the sink writes at once, and what it counts as written."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from libs.runtime.backoff import Backoff
from libs.runtime.clock import SystemClock
from libs.runtime.life_cycle import Context
from libs.runtime.service.health import Health
from libs.runtime.topics.rules import Cluster
from services.sink import consumer_loop
from services.sink.consumer_loop import OutputLoop
from services.sink.file.file_writer import FileWriter
from services.sink.file.lines import Line
from services.sink.file.metrics_file import MetricsFile
from services.sink.metrics_writer import OutputUnavailableError
from services.sink.record_batcher import Position
from services.sink.sink_metrics import SinkMetrics
from services.sink.sink_settings import SinkSettings
from services.sink.write_size import MOST_RECORDS, WriteSize
from tests.unit.test_sink_reader import FakeRecord
from tests.unit.test_sink_retention import CLUSTER, TOPIC, FakeConsumer, FakeTopic, metric


class HalfKnownWriter(FileWriter):
    """Has every second metric already, as a database may."""

    async def write(self, items: Sequence[Line], positions: Mapping[int, Position]) -> Sequence[str]:
        await super().write(items[::2], positions)
        return [f"{item.text!r} is there" for item in items[1::2]]


class SlowConnectionWriter(FileWriter):
    """Accepts at most ``MOST`` metrics at once, as a database that ends a session whose request takes too long."""

    MOST = 5_000

    def __init__(self, file: MetricsFile) -> None:
        super().__init__(file)
        self.attempts: list[int] = []

    async def write(self, items: Sequence[Line], positions: Mapping[int, Position]) -> Sequence[str]:
        if items:
            self.attempts.append(len(items))
            assert len(self.attempts) < 100, "it is never written"
        if len(items) > self.MOST:
            raise OutputUnavailableError("terminating connection due to idle-in-transaction timeout")
        return await super().write(items, positions)


async def run_sink(
    values: Sequence[bytes], writer: FileWriter, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a sink until it has written all of ``values``."""
    drained, stop = asyncio.Event(), asyncio.Event()
    topic = FakeTopic(FakeRecord(offset, value) for offset, value in enumerate(values))

    async def ensured(*_: object) -> Cluster:
        return CLUSTER

    monkeypatch.setattr(consumer_loop, "ensure_topics", ensured)
    monkeypatch.setattr(consumer_loop, "LazyRecordConsumer", lambda *_, **__: FakeConsumer(topic, drained))
    context = Context(SinkSettings(topic_partitions=1), CLUSTER, Health(), SystemClock(), registry, stop)
    sink = OutputLoop[Any](context, writer, SinkMetrics(registry, TOPIC, ["file"]).outputs["file"], "sink")
    running = asyncio.create_task(sink.run())
    await asyncio.wait({running, asyncio.create_task(drained.wait())}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await running
    await writer.close()


async def test_metrics_that_the_output_had_already_do_not_count_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    writer = HalfKnownWriter(MetricsFile(tmp_path / "metrics.json", TOPIC))
    with capture_logs() as logged:
        await run_sink([*map(metric, range(10)), b"?"], writer, registry, monkeypatch)
    of_file = {"output": "file"}
    assert registry.get_sample_value("pipeline_metrics_written_total", of_file) == 5
    assert registry.get_sample_value("pipeline_foreign_records_total", of_file) == 6
    events = [line["event"] for line in logged]
    assert events.count("records that are not metrics were left out") == 1
    assert events.count("metrics that the output has already were left out") == 1


async def test_a_backlog_is_written_in_smaller_parts_if_the_output_does_not_take_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    path = tmp_path / "metrics.json"
    values = [metric(number) for number in range(MOST_RECORDS)]
    writer = SlowConnectionWriter(MetricsFile(path, TOPIC))
    await run_sink(values, writer, CollectorRegistry(), monkeypatch)
    assert path.read_bytes().splitlines() == values
    assert writer.attempts[:3] == [20_000, 10_000, 5_000]


def test_writes_become_larger_again_while_they_are_quick() -> None:
    size = WriteSize("database")
    for records in (MOST_RECORDS, 10_000, 5_000, 2_500, 1_250, 600, 500, 1):
        size.failed(records)
    assert size.most_records == 500
    size.written(500, 8.0)
    size.written(100, 0.1)
    assert size.most_records == 500, "neither a slow write nor a small one says that a larger one would succeed"
    sizes = []
    for _ in range(7):
        size.written(size.most_records, 0.1)
        sizes.append(size.most_records)
    assert sizes == [1000, 2000, 4000, 8000, 16_000, MOST_RECORDS, MOST_RECORDS]


def test_a_small_write_that_fails_does_not_limit_later_ones() -> None:
    size = WriteSize("database")
    size.failed(3)
    assert size.most_records == MOST_RECORDS
