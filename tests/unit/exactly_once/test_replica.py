"""How a replica reacts to assigned partitions."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.runtime.errors import StuckConsumerError
from libs.runtime.exactly_once import replica as replica_module
from libs.runtime.exactly_once.replica import _Replica
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.metrics import StageMetrics
from libs.runtime.service.settings import ServiceSettings

ORDERS = [TopicPartition("orders", 0), TopicPartition("orders", 1)]


class RecordedWorker:
    """Replaces the worker of an assignment."""

    made: list["RecordedWorker"]

    def __init__(self, _stage: object, _settings: object, _consumer: object, *rest: Any) -> None:
        self.partitions, self.member, self.ids = rest[:3]
        self.working = False
        self.on_failure: Any = None
        self.made.append(self)

    def start(self, on_failure: object) -> None:
        assert not any(worker.working for worker in self.made)
        self.working, self.on_failure = True, on_failure

    async def stop(self) -> None:
        self.working = False


@pytest.fixture(autouse=True)
def recorded_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    RecordedWorker.made = []
    monkeypatch.setattr(replica_module, "ReplicaWorker", RecordedWorker)


def replica_of(generation: int, member_id: str) -> _Replica:
    metrics = StageMetrics(CollectorRegistry(), "orders", [], stateful=False)
    stage: Any = SimpleNamespace(name="processor", metrics=metrics)
    context: Any = SimpleNamespace(settings=ServiceSettings(topic_prefix="mine."), health=None)
    consumer: Any = SimpleNamespace(_coordinator=SimpleNamespace(generation=generation, member_id=member_id))
    anything: Any = None
    return _Replica(stage, context, consumer, anything)


async def test_a_worker_commits_as_the_member_that_was_assigned_its_partitions() -> None:
    await replica_of(7, "m").on_partitions_assigned(ORDERS)
    [worker] = RecordedWorker.made
    assert (worker.partitions, worker.member) == (ORDERS, GroupMember("mine.processor", 7, "m"))
    assert worker.ids.next_for(worker.member) == "mine.processor-7-m-0"


async def test_each_assignment_has_a_new_worker_and_transactional_ids_are_unique() -> None:
    replica = replica_of(7, "m")
    await replica.on_partitions_assigned(ORDERS)
    await replica.on_partitions_revoked(ORDERS)
    assert not RecordedWorker.made[0].working
    await replica.on_partitions_assigned(ORDERS[:1])
    first, second = RecordedWorker.made
    assert second.working
    assert second.partitions == ORDERS[:1]
    assert first.ids.next_for(first.member) != second.ids.next_for(second.member)


async def test_without_partitions_there_is_no_worker() -> None:
    await replica_of(7, "m").on_partitions_assigned([])
    assert not RecordedWorker.made


async def test_without_membership_nothing_is_processed() -> None:
    """The broker accepts offsets from any client that names no member."""
    replica = replica_of(-1, "")
    await replica.on_partitions_assigned(ORDERS)
    assert not RecordedWorker.made
    with pytest.raises(StuckConsumerError):
        await replica.failed()


async def test_a_rebalance_that_ends_after_close_starts_no_worker() -> None:
    replica = replica_of(7, "m")
    await replica.on_partitions_assigned(ORDERS)
    await replica.close()
    await replica.on_partitions_assigned(ORDERS)
    [worker] = RecordedWorker.made
    assert not worker.working


async def test_a_permanent_failure_of_a_worker_fails_the_replica() -> None:
    replica = replica_of(7, "m")
    await replica.on_partitions_assigned(ORDERS)
    RecordedWorker.made[0].on_failure(StuckConsumerError("nothing is received"))
    with pytest.raises(StuckConsumerError, match="nothing is received"):
        await replica.failed()
