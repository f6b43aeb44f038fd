"""Partitions that are read from a broker that has lost the leadership are found by the leaders' epochs."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NodeNotReadyError
from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once import former_leaders
from libs.runtime.exactly_once.former_leaders import FormerLeaders
from libs.runtime.kafka_requests.authorized_operations import MetadataRequestV8
from libs.runtime.kafka_requests.leaders import TopicLeaders

SOURCE = [TopicPartition("orders", number) for number in range(2)]
UNKNOWN_TOPIC = 3


class FakeConsumer:
    """``views`` has, for each broker, epoch and leader of both partitions; ``known`` the leaders that the consumer knows."""

    def __init__(self, known: list[int], views: dict[int, Any]) -> None:
        self.known = known
        self.views = views
        self.after_update: list[int] | None = None
        self.asked: list[int] = []
        cluster = SimpleNamespace(leader_for_partition=lambda source: self.known[source.partition])
        self._client = SimpleNamespace(send=self._send, cluster=cluster, force_metadata_update=self._update)

    async def _send(self, node: int, request: TopicLeaders) -> SimpleNamespace:
        self.asked.append(node)
        built: Any = request.build(MetadataRequestV8)
        assert (built.topics, built.allow_auto_topic_creation) == (["orders"], False)
        view = self.views[node]
        if view == "hangs":
            await asyncio.Event().wait()
        if view == "away":
            raise NodeNotReadyError
        partitions: list[Any] = [(0, number, leader, epoch, [], [], []) for number, (epoch, leader) in enumerate(view)]
        code = 0 if partitions else UNKNOWN_TOPIC
        return SimpleNamespace(topics=[(code, "orders", False, partitions, 0)])

    async def _update(self) -> None:
        self.known = self.after_update or self.known


def make(consumer: FakeConsumer) -> FormerLeaders:
    return FormerLeaders(cast(AIOKafkaConsumer, consumer), SOURCE)


@pytest.mark.parametrize(
    "views", [{1: [(5, 1), (5, 2)], 2: [(5, 1), (6, 3)]}, {1: [(5, 1), (6, 3)], 2: [(5, 1), (5, 2)]}]
)
async def test_the_leader_with_the_newest_epoch_is_used(views: dict[int, Any]) -> None:
    former = make(FakeConsumer([1, 2], views))
    await former.check([1, 2])
    assert former.partitions == [SOURCE[1]]


async def test_a_consumer_that_learns_the_new_leader_reads_from_it() -> None:
    consumer = FakeConsumer([1, 2], {1: [(5, 1), (6, 3)], 2: [(5, 1), (6, 3)]})
    consumer.after_update = [1, 3]
    former = make(consumer)
    await former.check([1, 2])
    assert former.partitions == []


async def test_a_partition_without_a_leader_has_a_former_one() -> None:
    former = make(FakeConsumer([1, 2], {1: [(5, 1), (6, -1)], 2: []}))
    await former.check([1, 2])
    assert former.partitions == [SOURCE[1]]


@pytest.mark.parametrize("view", ["hangs", "away", []])
async def test_brokers_without_an_answer_are_left_out(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former_leaders, "_ANSWERS_WITHIN_S", 0.01)
    consumer = FakeConsumer([1, 2], {1: view, 2: [(5, 1), (6, 3)]})
    former = make(consumer)
    await former.check([1, 2])
    assert former.partitions == [SOURCE[1]]
    consumer.views = {1: [(5, 1), (5, 2)], 2: view}
    await former.check([1, 2])
    assert former.partitions == [SOURCE[1]], "what was known is not forgotten"
    consumer.views = {1: [(0, 1), (0, 2)], 2: [(0, 1), (0, 2)]}
    await former.check([1, 2])
    assert former.partitions == [], "the topic was created again"


async def test_a_single_broker_is_not_asked_and_many_in_turns() -> None:
    consumer = FakeConsumer([1, 1], {node: [(5, 1), (5, 1)] for node in range(1, 6)})
    former = make(consumer)
    await former.check([1])
    assert consumer.asked == []
    for _ in range(4):
        await former.check([1, 2, 3, 4, 5])
    assert consumer.asked == [1, 2, 3, 1, 3, 4, 1, 4, 5, 1, 5, 2]
