"""Settings that only make a service slower, larger or later when they are ignored: each one has its effect."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.runtime.clock import SystemClock
from libs.runtime.exactly_once.stage import Stage
from libs.runtime.life_cycle import Context
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings, load_settings
from libs.runtime.topics.rules import Cluster
from services.analytics import analytics_engine
from services.analytics.analytics_settings import AnalyticsSettings
from services.generator import event_generator
from services.generator.generator_settings import GeneratorSettings
from services.processor import order_processor
from services.processor.processor_settings import ProcessorSettings
from services.sink.data_sink import writers_of
from services.sink.record_batcher import Position
from services.sink.sink_settings import SinkSettings
from tests.integration.services import eventually
from tests.unit.driver import FakeClock, LogicDriver, order_record
from tests.unit.generator_fakes import FakeProducer


def context_of(settings: ServiceSettings, clock: Any = None) -> Context[Any]:
    stop, registry = asyncio.Event(), CollectorRegistry()
    return Context(settings, Cluster("cluster", {}), Health(), clock or SystemClock(), registry, stop)


def stage_of_processor(*arguments: str, clock: Any = None) -> Stage:
    settings = load_settings(ProcessorSettings, arguments)
    return order_processor.make_stage(settings, clock or FakeClock(), CollectorRegistry())


def test_the_stages_take_the_settings_of_their_batches_and_transactions() -> None:
    processor = stage_of_processor("--processor-batch-size=7", "--commit-interval-ms=321", "--topic-partitions=9")
    assert (processor.batch_size, processor.commit_interval_ms) == (7, 321)
    assert processor.depends_on == {"TOPIC_PARTITIONS": 9}
    settings = load_settings(
        AnalyticsSettings, ["--commit-interval-ms=432", "--window-seconds=11", "--topic-partitions=9"]
    )
    analytics = analytics_engine.make_stage(settings, FakeClock(), CollectorRegistry())
    assert analytics.commit_interval_ms == 432
    assert analytics.depends_on == {"TOPIC_PARTITIONS": 9, "WINDOW_SECONDS": 11}


def test_the_watermark_takes_its_settings() -> None:
    clock = FakeClock()
    stage = stage_of_processor("--max-out-of-orderness-seconds=17", "--idle-after-seconds=20", clock=clock)
    source = TopicPartition("orders", 2)
    logic = stage.logics([source])[source]
    driver = LogicDriver(logic)
    driver.pipe([order_record(0)])
    seen_s = clock.now_s()
    assert logic.watermark_s == seen_s - 17
    driver.idle(seen_s + step for step in range(21))
    assert logic.watermark_s == seen_s - 17
    driver.idle([seen_s + 21, seen_s + 22])
    assert logic.watermark_s == seen_s + 21 - 17


class SilentProducer(FakeProducer):
    """Confirms only what the test confirms."""

    client = None

    async def stop(self) -> None:
        """Nothing to close."""


async def test_the_generator_takes_no_more_orders_than_its_buffer_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = SilentProducer()

    async def started(*_: object) -> Any:
        return producer

    monkeypatch.setattr(event_generator, "started_producer", started)
    arguments = ["--generator-buffer=7", "--generator-count=20", "--generator-backfill-seconds=60"]
    context = context_of(
        load_settings(GeneratorSettings, [*arguments, "--generator-rate=1000", "--topic-partitions=2"])
    )
    running = asyncio.create_task(event_generator.run(context))

    def buffered() -> float:
        return context.registry.get_sample_value("pipeline_buffered_orders") or 0

    await eventually(lambda: buffered() > 0)
    assert buffered() == 7
    while not running.done():
        producer.answer()
        await asyncio.sleep(0)
    await running
    assert sum(map(len, producer.written.values())) == 20
    assert producer.written.keys() == {0, 1}


def finished(folder: Path, suffix: str) -> list[Path]:
    return [*folder.glob(f"metrics-*{suffix}")]


async def test_the_sink_finishes_and_converts_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.sink.file.converter._LOOK_EVERY_S", 0.01)
    path = tmp_path / "metrics.json"
    arguments = [f"--sink-output-path={path}", "--sink-rotate=2KB", "--sink-rotated-format=gzip", "--topic-prefix=a-"]
    (writer,) = writers_of(context_of(load_settings(SinkSettings, arguments)))
    values = [encode_metric(ProductMetric(60 * n, 60 * n + 60, "prod-1", 3, 1000)) for n in range(30)]
    assert await writer.acquire()
    await writer.open("cluster")
    try:
        for number, value in enumerate(values):
            await writer.write(writer.parse([value]), {0: Position(number + 1, 0)})
        assert finished(tmp_path, ".json"), "a file of 2 KB is finished"
        await eventually(lambda: bool(finished(tmp_path, ".json.gz")))
    finally:
        await writer.close()
    (converted,) = finished(tmp_path, ".json.gz")
    lines = gzip.decompress(converted.read_bytes()).splitlines()
    assert lines == values[: len(lines)]
