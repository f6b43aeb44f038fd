"""What a replica does when partitions come."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.runtime import group
from libs.runtime.errors import StuckConsumerError
from libs.runtime.group import _Replica
from libs.runtime.member_offsets import GroupMember
from libs.runtime.metrics import StageMetrics
from libs.runtime.settings import ServiceSettings
from libs.runtime.worker import Assignment

ORDERS = [TopicPartition("orders", 0), TopicPartition("orders", 1)]


class NotedWorker:
    made: list["NotedWorker"]

    def __init__(self, _stage: object, _settings: object, _consumer: object, *rest: Any) -> None:
        self.partition, self.assignment = rest[0], rest[1]
        self.made.append(self)

    def start(self, _: object) -> None:
        pass


def replica_of(generation: int, member_id: str, monkeypatch: pytest.MonkeyPatch) -> _Replica:
    NotedWorker.made = []
    monkeypatch.setattr(group, "PartitionWorker", NotedWorker)
    metrics = StageMetrics(CollectorRegistry(), "orders", [], stateful=False)
    stage: Any = SimpleNamespace(name="processor", metrics=metrics)
    context: Any = SimpleNamespace(settings=ServiceSettings(topic_prefix="mine."), health=None)
    consumer: Any = SimpleNamespace(_coordinator=SimpleNamespace(generation=generation, member_id=member_id))
    anything: Any = None
    return _Replica(stage, context, consumer, anything, anything)


async def test_workers_commit_as_the_member_that_was_given_the_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    await replica_of(7, "m", monkeypatch).on_partitions_assigned(ORDERS)
    assert [worker.partition for worker in NotedWorker.made] == ORDERS
    (first, second) = (worker.assignment for worker in NotedWorker.made)
    assert isinstance(first, Assignment)
    assert first is second
    assert (first.member, first.partitions) == (GroupMember("mine.processor", 7, "m"), 2)


async def test_without_membership_nothing_is_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker would take anybody's offsets from who names no member."""
    replica = replica_of(-1, "", monkeypatch)
    await replica.on_partitions_assigned(ORDERS)
    assert not NotedWorker.made
    with pytest.raises(StuckConsumerError):
        await replica.failed()
