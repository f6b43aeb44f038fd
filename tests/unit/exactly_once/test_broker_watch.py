"""Deleted topics and added partitions are detected, also if only some brokers report them."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5
from aiokafka.structs import TopicPartition

from libs.runtime.errors import PipelineError, TopicMismatchError, TopicMissingError
from libs.runtime.exactly_once import broker_watch
from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.exactly_once.former_leaders import FormerLeaders
from libs.runtime.service.health import Health
from tests.unit.driver import FakeClock

NO_ERROR, UNKNOWN_TOPIC = 0, 3
ALL = {"orders": 2, "others": 2}
SOURCE = [TopicPartition("orders", number) for number in range(2)]
CONTROLLER, OTHER = 1, 2


class FakeCluster:
    """Two brokers with their own topics and numbers of partitions; after ``checks`` checks both have all topics."""

    def __init__(self, *, controller: Mapping[str, int], other: Mapping[str, int], checks: int = 10**9) -> None:
        self.topics = {CONTROLLER: controller, OTHER: other}
        self.controller_id: dict[int, int] = {CONTROLLER: CONTROLLER, OTHER: CONTROLLER}
        self.out_of_reach: set[int] = set()
        self.silent: set[int] = set()
        self.asked: list[int] = []
        self._checks = checks
        self.end = 1
        self.hides_an_end = False
        self.answers_fetches = False
        self.ends_read = asyncio.Event()
        self.checked = asyncio.Event()
        self.restored = asyncio.Event()
        brokers = [SimpleNamespace(nodeId=node) for node in (OTHER, CONTROLLER)]
        self.answered_ms = 0
        self.cluster = SimpleNamespace(brokers=lambda: brokers, controller=None)
        self._client = SimpleNamespace(send=self._send, cluster=self.cluster)

    async def _send(self, node: int, request: MetadataRequest) -> SimpleNamespace:
        await asyncio.sleep(0)
        self.asked.append(node)
        if node in self.out_of_reach:
            raise NodeNotReadyError
        if node in self.silent:
            await asyncio.Event().wait()
        asked: Any = request.build(MetadataRequest_v5)
        assert not asked.allow_auto_topic_creation
        topics = self.topics[node]
        metadata = [
            (NO_ERROR if topic in topics else UNKNOWN_TOPIC, topic, False, [()] * topics.get(topic, 0))
            for topic in asked.topics
        ]
        self._count_checks()
        return SimpleNamespace(topics=metadata, controller_id=self.controller_id[node])

    def _count_checks(self) -> None:
        if self.topics == {CONTROLLER: ALL, OTHER: ALL}:
            self.restored.set()
        # A check that finds a difference asks every broker.
        if len(self.asked) >= 2 * self._checks:
            self.checked.set()
            self.topics = {CONTROLLER: ALL, OTHER: ALL}

    def assignment(self) -> set[TopicPartition]:
        return {SOURCE[0]}

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        assert partition == SOURCE[0]
        return self.answered_ms or None

    async def end_offsets(self, _: object) -> Mapping[TopicPartition, int]:
        await asyncio.sleep(0)
        self.answered_ms += self.answers_fetches
        ends = {TopicPartition("orders", 0): self.end}
        self.ends_read.set()
        if self.hides_an_end:
            raise NodeNotReadyError
        return ends


class FakeHealth(Health):
    """Signals when the watch has accepted a response."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = asyncio.Event()

    def beat(self, name: str) -> None:
        super().beat(name)
        self.connected.set()


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_watch, "_CHECK_AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr(broker_watch, "_PING_EVERY_S", 0.0)


def make_watch(cluster: FakeCluster, health: Health | None = None, clock: FakeClock | None = None) -> BrokerWatch:
    return BrokerWatch(cast(AIOKafkaConsumer, cluster), SOURCE, health or Health(), list(ALL), clock or FakeClock())


@pytest.fixture(autouse=True)
def _no_look_for_former_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(*_: object) -> None:
        """test_former_leaders.py tests it."""

    monkeypatch.setattr(FormerLeaders, "check", check)


async def continues_after(watch: BrokerWatch, happens: asyncio.Event) -> None:
    """Wait for ``happens``; the watch must still run then and shortly afterwards."""
    watching = asyncio.create_task(watch.run())
    looking = asyncio.create_task(happens.wait())
    await asyncio.wait({watching, looking}, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(20):
        await asyncio.sleep(0)
    looking.cancel()
    if watching.done():
        watching.result()
    watching.cancel()


# A controller that has just started may have no topics in its metadata.
CHANGES: list[tuple[Mapping[str, int], int, type[PipelineError], str]] = [
    ({"others": 2}, broker_watch._CHECKS_UNTIL_CONFIRMED, TopicMissingError, "deleted while it was in use: orders"),
    ({}, broker_watch._CHECKS_WITHOUT_TOPICS_UNTIL_CONFIRMED, TopicMissingError, "orders, others"),
    (ALL | {"others": 12}, broker_watch._CHECKS_UNTIL_CONFIRMED, TopicMismatchError, "'others' has 12 .* had 2"),
    (ALL | {"orders": 1}, broker_watch._CHECKS_UNTIL_CONFIRMED, TopicMismatchError, "'orders' has 1 .* had 2"),
]
ANY_CHANGE = pytest.mark.parametrize(("topics", "checks", "error", "message"), CHANGES)


@ANY_CHANGE
async def test_a_topic_that_is_missing_or_changed_on_all_brokers_ends_the_service(
    topics: Mapping[str, int], checks: int, error: type[PipelineError], message: str
) -> None:
    cluster = FakeCluster(controller=topics, other=topics)
    with pytest.raises(error, match=message):
        await make_watch(cluster).run()
    assert len(cluster.asked) == 2 * checks


@ANY_CHANGE
async def test_brokers_without_metadata_of_all_topics_are_given_time(
    topics: Mapping[str, int], checks: int, error: type[PipelineError], message: str
) -> None:
    cluster = FakeCluster(controller=topics, other=topics, checks=checks - 1)
    await continues_after(make_watch(cluster), cluster.restored)


@pytest.mark.parametrize("topics", [{"others": 2}, {}, ALL | {"orders": 1}])
async def test_metadata_that_the_controller_contradicts_is_ignored(topics: Mapping[str, int]) -> None:
    """Regression: metadata 2.5 s old ended a service."""
    cluster = FakeCluster(controller=ALL, other=topics, checks=200)
    watch = make_watch(cluster)
    await continues_after(watch, cluster.checked)
    assert watch.answering


@pytest.mark.parametrize("topics", [{"others": 2}, {}, ALL | {"orders": 1}])
async def test_an_unreachable_controller_is_an_outage(
    topics: Mapping[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_watch, "_ONE_BROKER_ANSWERS_WITHIN_S", 0.01)
    for fault in ("out_of_reach", "silent"):
        cluster = FakeCluster(controller=ALL, other=topics, checks=150)
        getattr(cluster, fault).add(CONTROLLER)
        watch = make_watch(cluster)
        await continues_after(watch, cluster.checked)
        cluster = FakeCluster(controller=topics, other=topics, checks=150)
        cluster.controller_id = dict.fromkeys(cluster.controller_id, -1)  # no controller is elected
        watch = make_watch(cluster)
        await continues_after(watch, cluster.checked)


async def test_the_highest_number_of_partitions_is_the_current_one() -> None:
    """Kafka never removes partitions, so the highest number is the newest."""
    cluster = FakeCluster(controller=ALL, other=ALL | {"orders": 3})
    cluster.cluster.controller = SimpleNamespace(
        nodeId=OTHER
    )  # asked first, and the controller according to the client
    with pytest.raises(TopicMismatchError, match="'orders' has 3 partitions by now and had 2"):
        await make_watch(cluster).run()


async def test_only_the_controller_is_asked_if_its_metadata_is_as_expected() -> None:
    cluster = FakeCluster(controller=ALL, other=ALL)
    cluster.cluster.controller = SimpleNamespace(nodeId=CONTROLLER)
    await continues_after(make_watch(cluster), cluster.restored)
    assert set(cluster.asked) == {CONTROLLER}


@pytest.mark.parametrize("fault", ["out_of_reach", "silent"])
async def test_the_expected_metadata_of_any_broker_is_enough(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_watch, "_ONE_BROKER_ANSWERS_WITHIN_S", 0.01)
    cluster = FakeCluster(controller=ALL, other=ALL)
    getattr(cluster, fault).add(CONTROLLER)
    cluster.cluster.controller = SimpleNamespace(nodeId=CONTROLLER)
    health = FakeHealth()
    await continues_after(make_watch(cluster, health), health.connected)
    assert set(cluster.asked) == {CONTROLLER, OTHER}


async def test_a_broker_that_answers_fetches_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may delay other responses by seconds, if this client exceeds a quota or the connection is slow."""
    monkeypatch.setattr(broker_watch, "_CHECK_AGAIN_AFTER_S", 0.001)
    cluster, health = FakeCluster(controller=ALL, other=ALL), FakeHealth()
    cluster.out_of_reach = {CONTROLLER, OTHER}
    watch = make_watch(cluster, health)
    watching = asyncio.create_task(watch.run())
    while len(cluster.asked) < 4:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0)
    assert not health.connected.is_set()
    assert not watch.answering
    while not health.connected.is_set():
        cluster.answered_ms += 1
        await asyncio.sleep(0)
    watching.cancel()


async def look_at_the_ends(cluster: FakeCluster, times: int) -> None:
    for _ in range(times):
        cluster.ends_read.clear()
        await cluster.ends_read.wait()


async def test_it_is_unknown_whether_the_topic_is_idle_while_an_end_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a replica of idle partitions would write no watermark, for which the windows of the others wait."""
    cluster, clock = FakeCluster(controller=ALL, other=ALL), FakeClock(1000.0)
    watch = make_watch(cluster, clock=clock)
    watching = asyncio.create_task(watch.run())
    await look_at_the_ends(cluster, 2)
    cluster.hides_an_end = True
    await look_at_the_ends(cluster, 2)
    assert watch.quiet_since_s == 1000.0  # it may be back at once
    monkeypatch.setattr(broker_watch, "_ENDS_KNOWN_FOR_S", 0.0)
    await look_at_the_ends(cluster, 2)
    assert watch.quiet_since_s is None
    cluster.hides_an_end, clock.time_s = False, 2000.0
    await look_at_the_ends(cluster, 2)
    assert watch.quiet_since_s == 2000.0
    watching.cancel()


async def test_a_partition_without_a_leader_is_noticed_while_fetches_of_others_are_answered() -> None:
    """Otherwise its consumer would count as stuck, which ends the service."""
    cluster = FakeCluster(controller=ALL, other=ALL)
    cluster.answers_fetches = True
    watch = make_watch(cluster)
    watching = asyncio.create_task(watch.run())
    for hides_an_end in (False, True, False):
        cluster.hides_an_end = hides_an_end
        await look_at_the_ends(cluster, 3)
        assert (watch.answering, watch.reads_ends) == (True, not hides_an_end)
    watching.cancel()


async def test_the_topic_is_idle_since_its_end_offsets_last_changed() -> None:
    cluster, clock = FakeCluster(controller=ALL, other=ALL), FakeClock(1000.0)
    watch = make_watch(cluster, clock=clock)
    assert watch.quiet_since_s is None
    watching = asyncio.create_task(watch.run())
    await look_at_the_ends(cluster, 2)
    clock.time_s = 2000.0
    await look_at_the_ends(cluster, 2)
    assert watch.quiet_since_s == 1000.0
    cluster.end = 2
    await look_at_the_ends(cluster, 2)
    clock.time_s = 3000.0
    await look_at_the_ends(cluster, 2)
    assert watch.quiet_since_s == 2000.0
    watching.cancel()
