"""Detection of the end of a changelog, and health while it is read."""

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once import committed_records
from libs.runtime.exactly_once.committed_offsets import CommittedOffset
from libs.runtime.exactly_once.committed_records import read_committed_records
from libs.runtime.exactly_once.stage import PartitionLogic
from libs.runtime.exactly_once.take_over import TakeOver
from libs.runtime.kafka_client.partitioning import partition_name
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.timing import HEALTHY_FOR_S
from tests.unit.driver import FakeClock
from tests.unit.exactly_once.fakes import ORDERS, FakeLogic, make_stage
from tests.unit.exactly_once.fakes import FakeConsumer as FakeSourceConsumer

STATE = [TopicPartition("state", number) for number in range(2)]


class FakeConsumer:
    """A consumer of committed records; ``script`` has the records of each fetch and the state of each partition after it.

    The state is the position and the high watermark in the last response, None before the first one.
    """

    def __init__(self, script: Iterable[tuple[Mapping[TopicPartition, list[Any]], Mapping[int, Any]]]) -> None:
        self._script = iter(script)
        self._stands: dict[int, tuple[int, int | None]] = {partition.partition: (0, None) for partition in STATE}
        self.assigned: list[TopicPartition] = []
        self.ends: dict[int, int] = {}
        self.closed = False
        self.fetches = 0
        self._coordinator = None
        self._client: Any = SimpleNamespace(close=self._close)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def _close(self) -> None:
        self.closed = True

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    async def end_offsets(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {partition: self.ends.get(partition.partition, 0) for partition in partitions}

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        assert set(partitions) == set(self.assigned)

    async def getmany(self, **_: object) -> Mapping[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        self.fetches += 1
        found, stands = next(self._script, ({}, {}))
        self._stands.update(stands)
        return found

    async def position(self, partition: TopicPartition) -> int:
        return self._stands[partition.partition][0]

    def highwater(self, partition: TopicPartition) -> int | None:
        return self._stands[partition.partition][1]


async def read(consumer: FakeConsumer, monkeypatch: pytest.MonkeyPatch, *partitions: TopicPartition) -> dict[Any, Any]:
    monkeypatch.setattr(committed_records, "LazyRecordConsumer", lambda **_: consumer)
    found: dict[TopicPartition, list[Any]] = {partition: [] for partition in partitions}
    async for partition, batch in read_committed_records(ServiceSettings(), partitions):
        found[partition].append(batch)
    assert consumer.closed
    return found


async def test_all_partitions_are_read_in_one_pass_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committed_records, "_BATCH_SIZE", 2)
    consumer = FakeConsumer(
        [
            ({STATE[0]: ["a", "b", "c"]}, {0: (3, 5)}),
            ({STATE[0]: ["d"], STATE[1]: ["x"]}, {0: (5, 5), 1: (1, 1)}),  # a marker is at offset 4
        ]
    )
    found = await read(consumer, monkeypatch, *STATE)
    assert found == {STATE[0]: [["a", "b"], ["c"], ["d"]], STATE[1]: [["x"]]}
    assert consumer.assigned == STATE
    assert consumer.fetches == 2


async def test_an_empty_changelog_is_complete_after_the_first_response(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = FakeConsumer([({}, {}), ({}, {}), ({}, {0: (0, 0)})])
    assert await read(consumer, monkeypatch, STATE[0]) == {STATE[0]: []}
    assert consumer.fetches == 3


async def test_it_waits_for_a_partition_with_an_open_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last stable offset is below its high watermark: the records in between may still be committed."""
    consumer = FakeConsumer(
        [
            ({STATE[0]: ["a"], STATE[1]: ["x"]}, {0: (1, 2), 1: (1, 1)}),
            ({}, {}),
            ({}, {}),
            ({STATE[0]: ["b"]}, {0: (3, 3)}),  # committed, and its marker
        ]
    )
    assert await read(consumer, monkeypatch, *STATE) == {STATE[0]: [["a"], ["b"]], STATE[1]: [["x"]]}
    assert consumer.fetches == 4


async def test_a_high_watermark_that_is_too_early_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new leader learns from its followers how far the partition is replicated (KIP-207)."""
    consumer = FakeConsumer([({STATE[0]: ["a"]}, {0: (1, 1)}), ({STATE[0]: ["b"]}, {0: (2, 2)})])
    consumer.ends = {0: 2}
    assert await read(consumer, monkeypatch, STATE[0]) == {STATE[0]: [["a"], ["b"]]}


async def test_reading_without_progress_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter(range(0, 10_000, 10))
    monkeypatch.setattr(committed_records, "time", SimpleNamespace(monotonic=lambda: next(now_s)))
    consumer = FakeConsumer([({}, {0: (0, 5)})])
    with pytest.raises(KafkaTimeoutError, match="partition=0"):
        await read(consumer, monkeypatch, STATE[0])
    assert consumer.closed


async def test_reading_with_progress_has_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter(range(0, 10_000, 10))
    monkeypatch.setattr(committed_records, "time", SimpleNamespace(monotonic=lambda: next(now_s)))
    consumer = FakeConsumer([({}, {0: (position, 50)}) for position in range(51)])
    assert await read(consumer, monkeypatch, STATE[0]) == {STATE[0]: []}
    assert consumer.fetches == 51


class SlowConsumer(FakeConsumer):
    """Each fetch takes ten seconds; notes before each whether the service is healthy."""

    def __init__(self, health: Health, clock: FakeClock, *script: Any) -> None:
        super().__init__(script)
        self._health, self._clock = health, clock
        self.healthy: list[bool] = []

    async def getmany(self, **_: object) -> Mapping[TopicPartition, list[Any]]:
        self._clock.time_s += 10
        self.healthy.append(self._health.is_healthy())
        return await super().getmany()


async def test_a_replica_is_healthy_while_one_of_its_changelogs_is_read_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one has been read to its end, and the fetches have transaction markers only."""
    clock = FakeClock()
    monkeypatch.setattr(committed_records, "time", SimpleNamespace(monotonic=clock.now_s))
    health = Health(clock.now_s)
    health.forget("started")
    fetches = int(HEALTHY_FOR_S / 10) + 2
    markers: list[Any] = [({}, {1: (position, fetches)}) for position in range(1, fetches + 1)]
    consumer = SlowConsumer(health, clock, ({STATE[0]: ["a"]}, {0: (1, 1)}), *markers)
    monkeypatch.setattr(committed_records, "LazyRecordConsumer", lambda **_: consumer)
    logics = dict(zip(ORDERS, (FakeLogic(), FakeLogic()), strict=False))

    def beat(source: TopicPartition) -> None:
        health.beat(partition_name(source))

    for source in logics:
        beat(source)
    consumer_of_orders = cast(AIOKafkaConsumer, FakeSourceConsumer())
    take_over = TakeOver(make_stage(), ServiceSettings(), consumer_of_orders, "group", beat)
    committed = {ORDERS[0]: CommittedOffset(1, ""), ORDERS[1]: None}
    await take_over._restore(cast(Mapping[TopicPartition, PartitionLogic], logics), "state", committed)
    assert consumer.healthy == [True] * (1 + fetches)
    assert logics[ORDERS[0]].restored == ["a"]
