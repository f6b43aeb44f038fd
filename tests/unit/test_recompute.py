"""The order of a recomputation's steps: wherever it is interrupted, the processor refuses to start, or nothing was changed."""

import asyncio
import math
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiokafka.admin.config_resource import ConfigResource
from aiokafka.errors import (
    CommitFailedError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.errors import UnknownTopicOrPartitionError as UnknownTopicError
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchRequest_v3, OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.runtime.errors import OffsetMismatchError, PipelineError
from libs.runtime.exactly_once.committed_offsets import STARTING_OVER, CommittedOffset, check_writer, encode_metadata
from recompute import commands
from recompute.commands import Plan, carry_out, make_plan
from verification.topic_reader import Offsets

ORDERS = TopicPartition("orders", 0)
PLAN = Plan("processor", "orders", ["processed-orders", "analytics-state"], {ORDERS: 7}, {ORDERS: 9})
MARK = ("commit", 7, STARTING_OVER)
DELETE = ("delete", "processed-orders", "analytics-state")
DONE = ("commit", 7, encode_metadata({"TOPIC_PARTITIONS": 1}))


class Cluster:
    """Both of aiokafka's clients; records each change, and fails at ``fails_at`` instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changes: list[Any] = []
        self.members = 0
        self.coordinator_code = 0
        self.committed = OffsetAndMetadata(8, "ours")
        self.fails_at: Any = None
        self.error: Exception = KafkaConnectionError()
        self.codes = {"processed-orders": 0, "analytics-state": 0}
        self.replicas = 1
        self.config_code = 0
        self.configs: list[tuple[str, str | None, bool, int, bool, list[Any]]] = []
        monkeypatch.setattr(commands, "AIOKafkaAdminClient", self)
        monkeypatch.setattr(commands, "AIOKafkaConsumer", self)

    def __call__(self, **_: object) -> Self:
        return self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None: ...

    def assign(self, _: object) -> None: ...

    async def describe_consumer_groups(self, groups: list[str]) -> list[SimpleNamespace]:
        return [SimpleNamespace(groups=[(0, groups[0], "", "", "", [None] * self.members)])]

    async def find_coordinator(self, group: str) -> int:
        assert group == "processor"
        return 3

    async def _send_request(self, request: OffsetFetchRequest, node: int) -> OffsetFetchResponse_v3:
        built = request.build(OffsetFetchRequest_v3)
        assert (built, node) == (OffsetFetchRequest_v3("processor", [("orders", [0])]), 3)
        return OffsetFetchResponse_v3(0, [("orders", [(0, *self.committed, 0)])], self.coordinator_code)

    async def list_topics(self) -> list[str]:
        return ["orders", "product-metrics"]

    async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": [{"replicas": [1, 2, 3][: self.replicas]}]} for name in topics]

    async def describe_configs(self, resources: list[ConfigResource]) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(resources=[(self.config_code, "", 2, each.name, self.configs) for each in resources]),
        ]

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self._change("commit", *offsets[ORDERS])

    async def delete_topics(self, topics: list[str]) -> SimpleNamespace:
        self._change("delete", *topics)
        return SimpleNamespace(topic_error_codes=list(self.codes.items()))

    def _change(self, *what: object) -> None:
        if what == self.fails_at:
            raise self.error
        self.changes.append(what)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


async def test_the_offsets_are_marked_before_anything_is_deleted_and_set_at_the_end(cluster: Cluster) -> None:
    await carry_out("there:1", PLAN, asyncio.Event())
    assert cluster.changes == [MARK, DELETE, DONE]


@pytest.mark.parametrize("step", [MARK, DELETE, DONE])
async def test_after_an_interruption_the_last_offsets_are_marked_and_a_second_run_does_all(
    cluster: Cluster, step: tuple[object, ...]
) -> None:
    cluster.fails_at, begun = step, asyncio.Event()
    with pytest.raises(KafkaConnectionError):
        await carry_out("there:1", PLAN, begun)
    assert begun.is_set()
    assert DONE not in cluster.changes
    assert (DELETE in cluster.changes) <= (MARK in cluster.changes)
    cluster.fails_at, cluster.changes = None, []
    await carry_out("there:1", PLAN, begun)
    assert cluster.changes == [MARK, DELETE, DONE]


async def test_a_refused_deletion_leaves_the_mark(cluster: Cluster) -> None:
    cluster.codes["analytics-state"] = TopicAuthorizationFailedError.errno
    with pytest.raises(PipelineError, match="'analytics-state' cannot be deleted: TopicAuthorizationFailedError"):
        await carry_out("there:1", PLAN, asyncio.Event())
    assert cluster.changes == [MARK, DELETE]


@pytest.mark.parametrize("before", [(8, "ours"), (8, "")])
async def test_if_no_topic_may_be_deleted_all_is_as_before(before: tuple[int, str], cluster: Cluster) -> None:
    """With delete.topic.enable=false, for example."""
    cluster.committed, begun = OffsetAndMetadata(*before), asyncio.Event()
    cluster.codes = dict.fromkeys(cluster.codes, TopicAuthorizationFailedError.errno)
    with pytest.raises(PipelineError, match="'processed-orders' cannot be deleted: TopicAuthorizationFailedError"):
        await carry_out("there:1", PLAN, begun)
    assert cluster.changes == [MARK, DELETE, ("commit", *before)]
    assert not begun.is_set()


async def test_if_no_topic_may_be_deleted_a_group_without_offsets_stays_refused(cluster: Cluster) -> None:
    """Its offsets have expired, for example: from the beginning, the processor would write everything a second time."""
    cluster.committed, begun = OffsetAndMetadata(-1, ""), asyncio.Event()
    cluster.codes = dict.fromkeys(cluster.codes, TopicAuthorizationFailedError.errno)
    with pytest.raises(PipelineError, match="'processed-orders' cannot be deleted"):
        await carry_out("there:1", PLAN, begun)
    [*_, (_, offset, metadata)] = cluster.changes
    with pytest.raises(OffsetMismatchError, match="was not committed by this service"):
        check_writer(ORDERS, CommittedOffset(offset, metadata), "PROCESSOR_ACCEPT_OFFSETS")
    assert not begun.is_set()


async def test_a_mark_of_an_interrupted_run_stays(cluster: Cluster) -> None:
    """That one may have deleted something."""
    cluster.committed, begun = OffsetAndMetadata(7, STARTING_OVER), asyncio.Event()
    cluster.codes = dict.fromkeys(cluster.codes, TopicAuthorizationFailedError.errno)
    with pytest.raises(PipelineError):
        await carry_out("there:1", PLAN, begun)
    assert cluster.changes == [MARK, DELETE]
    assert begun.is_set()


async def test_a_topic_that_an_interrupted_run_has_deleted_is_accepted(cluster: Cluster) -> None:
    cluster.codes["processed-orders"] = UnknownTopicError.errno
    await carry_out("there:1", PLAN, asyncio.Event())
    assert cluster.changes == [MARK, DELETE, DONE]


async def test_nothing_is_changed_while_a_service_runs(cluster: Cluster) -> None:
    cluster.members, begun = 1, asyncio.Event()
    with pytest.raises(PipelineError, match="has 1 members"):
        await carry_out("there:1", PLAN, begun)
    assert not cluster.changes
    assert not begun.is_set()


async def test_nothing_is_changed_before_the_offsets_are_known(cluster: Cluster) -> None:
    cluster.coordinator_code, begun = GroupLoadInProgressError.errno, asyncio.Event()
    with pytest.raises(GroupLoadInProgressError):
        await carry_out("there:1", PLAN, begun)
    assert not cluster.changes
    assert not begun.is_set()


async def test_a_processor_that_starts_amid_the_recomputation_is_named(cluster: Cluster) -> None:
    """Its coordinator rejects the offsets of a client that is no member."""
    cluster.fails_at, cluster.error = DONE, CommitFailedError()
    with pytest.raises(PipelineError, match="a service was started meanwhile"):
        await carry_out("there:1", PLAN, asyncio.Event())


async def test_a_service_that_started_amid_the_deletion_keeps_the_mark(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold state of before."""

    async def list_topics() -> list[str]:
        cluster.members = 1
        return ["orders"]

    monkeypatch.setattr(cluster, "list_topics", list_topics)
    with pytest.raises(PipelineError, match="has 1 members"):
        await carry_out("there:1", PLAN, asyncio.Event())
    assert cluster.changes == [MARK, DELETE]


class Reader:
    """A ``TopicReader``: the first offset and the arrival time, in milliseconds, of the oldest order in each partition of `orders`."""

    def __init__(self, *firsts: tuple[int, int | None], append_time: bool = True) -> None:
        self._firsts = firsts
        self._append_time = append_time

    def __call__(self, _: object) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def begins(self, topic: str) -> Offsets:
        assert topic == "orders"
        return {number: begin for number, (begin, _) in enumerate(self._firsts)}

    async def ends(self, _: str) -> Offsets:
        return dict.fromkeys(range(len(self._firsts)), 100)

    async def first_record(self, _: str, partition: int, begin: int, end: int) -> SimpleNamespace | None:
        assert (begin, end) == (self._firsts[partition][0], 100)
        time_ms = self._firsts[partition][1]
        return None if time_ms is None else SimpleNamespace(timestamp=time_ms, timestamp_type=int(self._append_time))


async def test_the_plan_says_from_when_on_all_orders_are_there(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention deletes the segments of each partition by itself."""
    monkeypatch.setattr(commands, "TopicReader", Reader((7, 300_000), (9, 500_000), (0, 900_000)))
    plan = await make_plan("there:1", "")
    assert plan.whole_since_s == 560, "an order's event time is at most a minute ahead of its arrival"
    assert plan.topics == ["product-metrics"]
    assert plan.begins == {TopicPartition("orders", number): begin for number, begin in enumerate((7, 9, 0))}
    assert set(plan.ends.values()) == {100}


async def test_a_plan_without_deleted_orders_warns_of_no_window(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "TopicReader", Reader((0, 300_000), (0, None)))
    assert (await make_plan("there:1", "")).whole_since_s == -math.inf


@pytest.mark.parametrize("reader", [Reader((7, None)), Reader((7, 300_000), append_time=False)])
async def test_if_the_deleted_orders_are_of_unknown_age_every_window_until_now_may_be_too_small(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    monkeypatch.setattr(commands, "TopicReader", reader)
    assert (await make_plan("there:1", "")).whole_since_s >= time.time()


async def test_orders_that_retention_deletes_while_the_plan_is_made_are_no_outage(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader((7, 300_000))

    async def first_record(*_: object) -> None:
        raise OffsetOutOfRangeError({ORDERS: 7})

    monkeypatch.setattr(reader, "first_record", first_record)
    monkeypatch.setattr(commands, "TopicReader", reader)
    with pytest.raises(PipelineError, match="records were deleted while they were read"):
        await make_plan("there:1", "")


async def test_the_plan_has_what_the_services_do_not_create_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries are as Kafka 3.9 answers: name, value, read-only, source (1: the topic's own; 5: a default), sensitive, synonyms."""
    monkeypatch.setattr(commands, "TopicReader", Reader((0, None)))
    cluster.replicas = 3
    cluster.configs = [
        ("compression.type", "uncompressed", False, 1, False, []),  # as declared
        ("min.insync.replicas", "2", False, 1, False, []),  # as the services create it with three replicas
        ("retention.ms", "-1", False, 1, False, []),
        ("max.message.bytes", "1048588", False, 5, False, []),
    ]
    plan = await make_plan("there:1", "")
    assert (plan.replicas, plan.lost_settings) == (3, ["product-metrics: retention.ms=-1"])


async def test_without_the_right_to_read_them_the_settings_are_unknown(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "TopicReader", Reader((0, None)))
    cluster.config_code = TopicAuthorizationFailedError.errno
    assert (await make_plan("there:1", "")).lost_settings == [
        "product-metrics: unknown, since this client lacks DESCRIBE_CONFIGS"
    ]


async def test_a_topic_that_an_interrupted_run_has_deleted_has_no_settings(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "TopicReader", Reader((0, None)))
    cluster.config_code = UnknownTopicError.errno
    assert (await make_plan("there:1", "")).lost_settings == []
