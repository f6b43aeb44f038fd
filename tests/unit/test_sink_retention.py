"""Retention deletes the beginning of the topic while the sink starts: the topic is still the one that was written."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.runtime.clock import SystemClock
from libs.runtime.life_cycle import Context
from libs.runtime.service.health import Health
from libs.runtime.timing import FETCH_MAX_WAIT_MS
from libs.runtime.topics.rules import Cluster
from services.sink import consumer_loop
from services.sink.consumer_loop import OutputLoop
from services.sink.file.file_writer import FileWriter
from services.sink.file.metrics_file import MetricsFile
from services.sink.sink_metrics import SinkMetrics
from services.sink.sink_settings import SinkSettings
from tests.unit.test_sink_reader import FakeRecord

TOPIC = "product-metrics"
CLUSTER = Cluster("here", {})


def metric(number: int) -> bytes:
    return encode_metric(ProductMetric(60 * number, 60 * number + 60, "keyboard", 1, 1050))


class FakeTopic:
    """One partition. ``then`` replaces what is left of it after the sink has asked where it begins."""

    def __init__(self, records: Iterable[FakeRecord], begin: int = 0) -> None:
        self.records = list(records)
        self.begin = begin
        self.then: FakeTopic | None = None
        self.by_the_leader: FakeTopic | None = None
        """What the leader has, if this is what a broker has that has lost the leadership."""

    @property
    def end(self) -> int:
        return self.records[-1].offset + 1 if self.records else self.begin


class FakeConsumer:
    """As much of aiokafka's consumer as the sink uses; an offset that is out of range becomes the first one."""

    def __init__(self, topic: FakeTopic, drained: asyncio.Event) -> None:
        self._topic = topic
        self._drained = drained
        self._position = 0
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=FETCH_MAX_WAIT_MS, _fetcher_timeout=0.2)
        self._coordinator = SimpleNamespace(_do_heartbeat=None)
        self._client = SimpleNamespace(close=self.stop, force_metadata_update=self._update_metadata)

    async def _update_metadata(self) -> None:
        self._topic = self._topic.by_the_leader or self._topic

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        begin = self._topic.begin
        self._topic = self._topic.then or self._topic
        return {partitions[0]: begin}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partitions[0]: self._topic.end}

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def seek(self, _: TopicPartition, offset: int) -> None:
        self._position = offset

    async def getmany(self, timeout_ms: int) -> Mapping[TopicPartition, Iterable[FakeRecord]]:
        if not self._topic.begin <= self._position <= self._topic.end:
            self._position = self._topic.begin
        found = [record for record in self._topic.records if record.offset >= self._position]
        self._position = self._topic.end
        if found:
            return {TopicPartition(TOPIC, 0): found}
        self._drained.set()
        await asyncio.sleep(timeout_ms / 1000)
        return {}

    async def position(self, _: TopicPartition) -> int:
        return self._position

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    def last_stable_offset(self, _: TopicPartition) -> int:
        return self._topic.end

    def last_poll_timestamp(self, _: TopicPartition) -> int:
        return 0


def numbers_in(path: Path) -> list[int]:
    """The numbers of the metrics in the file."""
    known = {metric(number): number for number in range(100)}
    return [known[line] for line in path.read_bytes().splitlines()]


def put_aside(folder: Path) -> list[list[int]]:
    """The numbers in each file that was put aside."""
    return [numbers_in(file) for file in folder.glob("*.old")]


async def copied(
    topic: FakeTopic, path: Path, monkeypatch: pytest.MonkeyPatch, checks: dict[int, list[float]] | None = None
) -> list[int]:
    """Run a sink until it has read all of ``topic``; returns the numbers of the metrics in the file.

    ``checks``: when the sink has looked for a record in vain, by partition.
    """
    drained, stop, sessions = asyncio.Event(), asyncio.Event(), 0

    async def ensured(*_: object) -> Cluster:
        return CLUSTER

    def consumer(**_: object) -> FakeConsumer:
        nonlocal topic, sessions
        sessions += 1
        assert sessions <= 6, "the sink starts again and again"
        made = FakeConsumer(topic, drained)
        topic = topic.then or topic.by_the_leader or topic
        return made

    monkeypatch.setattr(consumer_loop, "_CONFIRM_S", 0.0)
    monkeypatch.setattr(consumer_loop, "ensure_topics", ensured)
    monkeypatch.setattr(consumer_loop, "LazyRecordConsumer", consumer)
    settings = SinkSettings(topic_partitions=1)
    context = Context(settings, CLUSTER, Health(), SystemClock(), CollectorRegistry(), stop)
    writer = FileWriter(MetricsFile(path, TOPIC))
    metrics = SinkMetrics(context.registry, TOPIC, ["file"]).outputs["file"]
    sink = OutputLoop[Any](context, writer, metrics, "sink")
    sink._checks_without_the_record = checks or {}
    running = asyncio.create_task(sink.run())
    await asyncio.wait({running, asyncio.create_task(drained.wait())}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await running
    await writer.close()
    return numbers_in(path)


def records(numbers: Iterable[int], offset: int = 0) -> list[FakeRecord]:
    return [FakeRecord(offset + place, metric(number)) for place, number in enumerate(numbers)]


@pytest.mark.parametrize("begin", [5, 7])
async def test_what_was_deleted_after_the_first_offsets_were_asked_for_is_not_written_again(
    begin: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    everything = records(range(10))
    assert await copied(FakeTopic(everything[:5]), path, monkeypatch) == [0, 1, 2, 3, 4]
    topic = FakeTopic(everything, begin=0)
    topic.then = FakeTopic(everything[begin:], begin=begin)
    assert await copied(topic, path, monkeypatch) == [0, 1, 2, 3, 4, *range(begin, 10)]
    assert put_aside(tmp_path) == []


async def test_a_recreated_topic_without_a_record_at_that_offset_is_not_taken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    assert await copied(FakeTopic(records(range(5))), path, monkeypatch) == [0, 1, 2, 3, 4]
    # A transaction marker has the offset of the last record that was written.
    recreated = FakeTopic([*records(range(20, 24)), *records(range(24, 30), offset=5)])
    assert await copied(recreated, path, monkeypatch) == list(range(20, 30))
    assert put_aside(tmp_path) == [[0, 1, 2, 3, 4]]


async def test_checks_without_the_record_count_only_until_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    everything = records(range(10))
    assert await copied(FakeTopic(everything[:5]), path, monkeypatch) == [0, 1, 2, 3, 4]
    checks = {0: [time.monotonic()] * 3, 1: [time.monotonic()]}
    assert await copied(FakeTopic(everything[:5]), path, monkeypatch, checks) == [0, 1, 2, 3, 4]
    assert list(checks) == [1]


@pytest.mark.parametrize("known", [3, 5])
async def test_a_broker_that_has_lost_the_leadership_does_not_make_the_sink_start_over(
    known: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not have the last records, and says that the topic ends before the position, or says so only when it is read."""
    path = tmp_path / "metrics.json"
    everything = records(range(10))
    assert await copied(FakeTopic(everything[:5]), path, monkeypatch) == [0, 1, 2, 3, 4]
    former = FakeTopic(everything[:known])
    if known == 5:
        former.then = FakeTopic(everything[:3])
        former.then.by_the_leader = FakeTopic(everything)
    former.by_the_leader = FakeTopic(everything)
    assert await copied(former, path, monkeypatch) == list(range(10))
    assert put_aside(tmp_path) == []
