"""Hand-written fakes for the exactly-once engine: consumer, producer, logic, stage."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import structlog
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.exactly_once.pipelined_commits import PipelinedCommits
from libs.runtime.exactly_once.stage import PartitionLogic, Stage
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.metrics import StageMetrics
from libs.runtime.timing import FETCH_MAX_WAIT_MS
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer

ORDERS = [TopicPartition("orders", number) for number in range(3)]
MEMBER = GroupMember("group", 7, "member")
OUTPUT_PARTITIONS = {"out": 6}


def stage_metrics(registry: CollectorRegistry | None = None) -> StageMetrics:
    return StageMetrics(registry or CollectorRegistry(), "orders", ["out"], stateful=False)


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


class EmptyTally:
    """A tally that counts nothing."""

    def count(self, now_s: float) -> None:
        pass


class FakeLogic:
    """Records the offsets that it gets, and writes one record for each."""

    def __init__(self, *, urgent: bool = False) -> None:
        self.urgent = urgent
        self.waits_for_clock = False
        self.watermark_s: float | None = None
        self.event_time_lag_s: float | None = None
        self.state_size = 0
        self.pending_records = 0
        self.state_offset: int | None = None
        self.restored: list[Any] = []
        self.processed: asyncio.Queue[int] = asyncio.Queue()
        self.contexts: list[Mapping[str, Any]] = []
        self.error: Exception | None = None

    def restore(self, batch: Sequence[Any]) -> None:
        self.restored.extend(batch)

    def process(self, batch: Sequence[Any], output: OutputBuffer) -> None:
        self.contexts.append(structlog.contextvars.get_contextvars())
        if self.error is not None:
            raise self.error
        for record in batch:
            output.send("out", 0, None, b"%d" % record.offset, 0, [])
            self.processed.put_nowait(record.offset)

    def punctuate(self, _: object) -> None:
        pass

    def before_commit(self, _: object, position: int) -> EmptyTally:
        return EmptyTally()


class FakeProducer:
    """Records the commits, and completes them when the test says so."""

    transactional_id = "id"

    def __init__(self, *, completes: bool = True) -> None:
        self.begun: asyncio.Queue[Mapping[TopicPartition, int]] = asyncio.Queue()
        self.commits: list[tuple[OutputBuffer, Mapping[TopicPartition, int]]] = []
        self.members: list[GroupMember] = []
        self.committing = 0
        self.completion = asyncio.Semaphore(1_000_000 if completes else 0)
        self.error: BaseException | None = None

    @property
    def offsets(self) -> list[Mapping[TopicPartition, int]]:
        """The offsets of each commit."""
        return [offsets for _, offsets in self.commits]

    async def commit(self, outputs: OutputBuffer, offsets: Mapping[TopicPartition, int], member: GroupMember) -> None:
        self.begun.put_nowait(offsets)
        self.committing += 1
        try:
            await self.completion.acquire()
        finally:
            self.committing -= 1
        if self.error is not None:
            raise self.error
        self.members.append(member)
        self.commits.append((outputs, offsets))


class FakeConsumer:
    """Returns the records in ``found`` like aiokafka: its position is after them before they are parsed."""

    def __init__(self) -> None:
        self.found: asyncio.Queue[Mapping[TopicPartition, list[Any]] | BaseException] = asyncio.Queue()
        self.reads = 0
        self.given_up = 0
        self.positions: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}
        self.first: dict[TopicPartition, int] = {}
        self.confirmed_ms: int | None = None
        self.left_out: set[TopicPartition] = set()
        self.waiting: set[TopicPartition] = set()
        self.not_handed_out: set[TopicPartition] = set()
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=FETCH_MAX_WAIT_MS, _fetcher_timeout=0.2)
        self._coordinator = SimpleNamespace(_do_heartbeat=self._do_heartbeat)
        cluster = SimpleNamespace(leader_for_partition=lambda _: 1, brokers=lambda: [1, 2, 3])
        self._client: Any = SimpleNamespace(force_metadata_update=self._update_metadata, cluster=cluster)
        self.metadata_updates = 0

    async def _update_metadata(self) -> None:
        self.metadata_updates += 1

    async def _do_heartbeat(self) -> bool:
        return True

    def put(self, found: Mapping[TopicPartition, Iterable[int]]) -> None:
        """Add fetched records with these offsets."""
        self.found.put_nowait({source: records(*offsets) for source, offsets in found.items()})

    async def getmany(self, **_: object) -> Mapping[TopicPartition, list[Any]]:
        self.reads += 1
        try:
            found = await self.found.get()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if isinstance(found, BaseException):
            raise found
        for source, fetched in found.items():
            for record in fetched[-1:]:
                self.positions[source] = max(self.positions.get(source, 0), record.offset + 1)
        return found

    async def position(self, source: TopicPartition) -> int:
        return self.positions.get(source, 0)

    def last_stable_offset(self, source: TopicPartition) -> int | None:
        return self.ends.get(source)

    highwater = last_stable_offset

    def last_poll_timestamp(self, _: TopicPartition) -> int | None:
        return self.confirmed_ms

    def left_out_for_s(self, source: TopicPartition) -> float:
        return 0.0 if source in self.waiting else float("inf")

    def has_waiting(self, source: TopicPartition) -> bool:
        return source in self.not_handed_out

    async def beginning_offsets(self, sources: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {source: self.first.get(source, 0) for source in sources}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {partition: self.ends.get(partition, 0) for partition in partitions}

    def seek(self, source: TopicPartition, position: int) -> None:
        self.positions[source] = position

    def paused(self) -> set[TopicPartition]:
        return set(self.left_out)

    def pause(self, *sources: TopicPartition) -> None:
        self.left_out |= set(sources)

    def resume(self, *sources: TopicPartition) -> None:
        self.left_out -= set(sources)


class Backlog(FakeConsumer):
    """Always has one more record of the first partition."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = asyncio.Event()
        self.ends[ORDERS[0]] = 10**9

    async def getmany(self, **_: object) -> Mapping[TopicPartition, list[Any]]:
        self.put({ORDERS[0]: [self.reads]})
        if self.reads == 100:
            self.busy.set()
        return await super().getmany()


def make_stage(
    logic: Any = None, *, interval_ms: int = 60_000, changelog: str | None = None, accepted: bool = False
) -> Stage:
    """A stage that reads ``orders`` and writes ``out``."""
    named: Any = SimpleNamespace
    return Stage(
        name="processor",
        source=named(name="orders", config={}),
        outputs=[named(name="out", config={})],
        changelog=named(name=changelog, config={}) if changelog else None,
        fetch_bytes=1024,
        batch_size=50,
        commit_interval_ms=interval_ms,
        metrics=stage_metrics(),
        depends_on={"TOPIC_PARTITIONS": len(ORDERS)},
        accept_offsets=None if changelog else "PROCESSOR_ACCEPT_OFFSETS",
        offsets_accepted=accepted,
        logics=lambda sources: {
            source: cast(PartitionLogic, logic(*source) if callable(logic) else logic) for source in sources
        },
    )


def make_watch(*, reads_ends: bool = True) -> BrokerWatch:
    state: dict[str, Any] = {"source_started": True, "ends": {}, "quiet_since_s": None, "reads_ends": reads_ends}
    state["former_leaders"] = SimpleNamespace(partitions=[])
    return cast(BrokerWatch, SimpleNamespace(**state))


def make_commits(
    producer: FakeProducer,
    interval_ms: int = 60_000,
    counts: list[Any] | None = None,
    metrics: StageMetrics | None = None,
    size: TransactionSize | None = None,
) -> PipelinedCommits:
    """Commits whose offsets and tallies are appended to ``counts``."""
    calls: list[Any] = [] if counts is None else counts
    return PipelinedCommits(
        cast(TransactionalProducer, producer),
        MEMBER,
        OUTPUT_PARTITIONS,
        interval_ms,
        size or TransactionSize(),
        metrics or stage_metrics(),
        lambda *committed: calls.append(committed),
    )
