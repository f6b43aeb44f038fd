import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.runtime import worker as worker_module
from libs.runtime.broker import Backoff
from libs.runtime.errors import NotAMemberError, RetriesExhaustedError, StuckConsumerError
from libs.runtime.health import Health
from libs.runtime.member_offsets import GroupMember
from libs.runtime.metrics import StageMetrics, totals
from libs.runtime.silence import Silence
from libs.runtime.timing import STUCK_AFTER_S, TICK_S
from libs.runtime.turns import CommitTurns
from libs.runtime.worker import RETRIES, Assignment, PartitionWorker


def stage_metrics() -> StageMetrics:
    return StageMetrics(CollectorRegistry(), "orders", [], stateful=False)


class CancelledFromWithin(PartitionWorker):
    async def _work(self) -> None:
        raise asyncio.CancelledError


class FailsEveryTime(PartitionWorker):
    error: Exception = RuntimeError("refused")
    attempts = 0
    long_enough = asyncio.Event()

    async def _work(self) -> None:
        self.attempts += 1
        if self.attempts == 10 * RETRIES:
            self.long_enough.set()
        raise self.error


def assigned() -> Assignment:
    return Assignment(GroupMember("group", 1, "member"), 1, CommitTurns())


def make_worker(kind: type[PartitionWorker] = PartitionWorker) -> PartitionWorker:
    anything: Any = SimpleNamespace(answering=True, metrics=stage_metrics())
    partition = TopicPartition("orders", 0)
    return kind(anything, anything, anything, partition, assigned(), anything, anything, Health())


async def test_a_worker_that_nobody_here_cancelled_is_missed() -> None:
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    make_worker(CancelledFromWithin).start(failed.set_result)
    assert isinstance(await asyncio.wait_for(failed, 5), StuckConsumerError)


async def test_when_trying_again_does_not_help_it_gives_up_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    failing = make_worker(FailsEveryTime)
    failing.start(failed.set_result)
    error = await asyncio.wait_for(failed, 5)
    assert isinstance(error, RetriesExhaustedError)
    assert "nothing is lost" in error.advice
    assert isinstance(failing, FailsEveryTime)
    assert failing.attempts == RETRIES + 1
    assert totals(failing._metrics.registry) == {"retries_error": RETRIES + 1}


async def test_without_a_broker_it_tries_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    failing = make_worker(FailsEveryTime)
    assert isinstance(failing, FailsEveryTime)
    failing.error = KafkaConnectionError("away")
    failing.start(failed.set_result)
    await failing.long_enough.wait()
    await failing.stop()
    assert not failed.done()
    assert totals(failing._metrics.registry).keys() == {"retries_broker"}


class LosesItsPlace(PartitionWorker):
    attempts = 0

    async def _work(self) -> None:
        self.attempts += 1
        raise NotAMemberError("no member of the group any more")


async def test_whoever_has_lost_its_place_in_the_group_does_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "FENCED_WAIT_S", 0.0)
    monkeypatch.setattr(worker_module, "STUCK_AFTER_S", 0.05)
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    fenced = make_worker(LosesItsPlace)
    fenced.start(failed.set_result)
    assert isinstance(await asyncio.wait_for(failed, 5), StuckConsumerError)
    assert isinstance(fenced, LosesItsPlace)
    assert fenced.attempts == 1
    assert totals(fenced._metrics.registry) == {"retries_fenced": 1}


async def test_it_stops_when_the_group_gives_its_partitions_out_anew() -> None:
    failures: list[BaseException] = []
    fenced = make_worker(LosesItsPlace)
    fenced.start(failures.append)
    await asyncio.sleep(0)
    await asyncio.wait_for(fenced.stop(), 5)
    assert not failures


async def test_a_worker_of_an_older_generation_fences_nobody() -> None:
    consumer: Any = SimpleNamespace(_coordinator=SimpleNamespace(generation=2, member_id="member"))
    anything: Any = SimpleNamespace(answering=True, metrics=stage_metrics())
    worker = PartitionWorker(
        anything, anything, consumer, TopicPartition("orders", 0), assigned(), anything, anything, Health()
    )
    with pytest.raises(NotAMemberError):
        await worker._work()


class Backlog:
    """A consumer that always has one more record."""

    def __init__(self) -> None:
        self.reads = 0
        self.busy = asyncio.Event()

    async def getmany(self, partition: TopicPartition, **_: object) -> Mapping[TopicPartition, list[object]]:
        self.reads += 1
        if self.reads == 100:
            self.busy.set()
        return {partition: [SimpleNamespace(offset=self.reads)]}

    async def position(self, _: object) -> int:
        return self.reads

    def last_stable_offset(self, _: object) -> int:
        return 10**9

    highwater = last_poll_timestamp = last_stable_offset


class NothingDone:
    def count(self, now_s: float) -> None:
        pass


class NoOutputs:
    def batches(self) -> Mapping[object, object]:
        return {}


class CommitsAtOnce:
    def buffer(self) -> NoOutputs:
        return NoOutputs()

    async def commit(self, *_: object) -> None:
        pass


class Counter:
    urgent = False
    watermark_s = None
    state_size = 0

    def process(self, *_: object) -> None:
        pass

    punctuate = process

    def before_commit(self, _: object) -> "NothingDone":
        return NothingDone()


class InBacklog(PartitionWorker):
    async def _work(self) -> None:
        producer: Any = CommitsAtOnce()
        logic: Any = Counter()
        await self._loop(producer, logic)


async def test_a_worker_stops_in_the_midst_of_a_backlog() -> None:
    backlog: Any = Backlog()
    anything: Any = SimpleNamespace(
        source_started=True, ends={}, batch_size=50, commit_interval_ms=1, metrics=stage_metrics()
    )
    partition = TopicPartition("orders", 0)
    worker = InBacklog(anything, anything, backlog, partition, assigned(), anything, anything, Health())
    failures: list[BaseException] = []
    worker.start(failures.append)
    await backlog.busy.wait()
    before = backlog.reads
    await worker.stop()
    assert backlog.reads <= before + 2
    assert not failures


class OneHugeFetch(Backlog):
    async def getmany(self, partition: TopicPartition, **_: object) -> Mapping[TopicPartition, list[object]]:
        return {partition: [SimpleNamespace(offset=number) for number in range(10_000)]}

    async def position(self, _: object) -> int:
        return 10_000


class Commits(CommitsAtOnce):
    def __init__(self) -> None:
        self.positions: list[int] = []
        self.three = asyncio.Event()

    async def commit(self, *arguments: object) -> None:
        self.positions.append(cast("int", arguments[-1]))
        if len(self.positions) == 3:
            self.three.set()


class CountsCommits(PartitionWorker):
    commits: Commits

    async def _work(self) -> None:
        producer: Any = self.commits
        logic: Any = Counter()
        await self._loop(producer, logic)


async def test_slow_work_is_committed_in_the_midst_of_a_fetch_and_can_be_stopped_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("libs.runtime.cycle._LONGEST_FILL_S", 0.0)
    monkeypatch.setattr("libs.runtime.worker.LONGEST_TURN_S", 0.0)
    fetch: Any = OneHugeFetch()
    anything: Any = SimpleNamespace(
        source_started=True, ends={}, batch_size=50, commit_interval_ms=100, metrics=stage_metrics()
    )
    partition = TopicPartition("orders", 0)
    worker = CountsCommits(anything, anything, fetch, partition, assigned(), anything, anything, Health())
    worker.commits = Commits()
    worker.start(lambda _: None)
    await asyncio.wait_for(worker.commits.three.wait(), 5)
    await worker.stop()
    assert worker.commits.positions[:3] == [50, 100, 150]
    assert max(worker.commits.positions) < 10_000


class FakeTime:
    now_s = 1000.0

    def look_for(self, silence: Silence, seconds: float, *, excused: bool = False) -> None:
        for _ in range(int(seconds / TICK_S)):
            self.now_s += TICK_S
            silence.look(excused=excused)


def test_a_consumer_that_hears_nothing_from_a_broker_that_answers_is_stuck() -> None:
    time = FakeTime()
    silence = Silence("orders-0", lambda: time.now_s)
    time.look_for(silence, STUCK_AFTER_S)
    time.look_for(silence, STUCK_AFTER_S, excused=True)
    time.look_for(silence, STUCK_AFTER_S)
    with pytest.raises(StuckConsumerError):
        time.look_for(silence, 1)


def test_a_machine_that_was_suspended_has_no_stuck_consumer() -> None:
    time = FakeTime()
    silence = Silence("orders-0", lambda: time.now_s)
    time.look_for(silence, 1)
    time.now_s += 3600
    time.look_for(silence, 10)


class OneByOne(Backlog):
    """A consumer that has the next record when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.next = asyncio.Semaphore(0)

    async def getmany(self, partition: TopicPartition, **_: object) -> Mapping[TopicPartition, list[object]]:
        await self.next.acquire()
        self.reads += 1
        return {partition: [SimpleNamespace(offset=self.reads - 1)]}

    def last_stable_offset(self, _: object) -> int:
        return self.reads


class CommitsWhenTold(Commits):
    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Semaphore(0)
        self.begun: asyncio.Queue[int] = asyncio.Queue()

    async def commit(self, *arguments: object) -> None:
        self.begun.put_nowait(cast("int", arguments[-1]))
        await self.told.acquire()


class AlwaysUrgent(Counter):
    urgent = True

    def __init__(self) -> None:
        self.records: asyncio.Queue[int] = asyncio.Queue()

    def process(self, *arguments: object) -> None:
        for record in cast("list[SimpleNamespace]", arguments[0]):
            self.records.put_nowait(record.offset)

    def punctuate(self, *_: object) -> None:
        pass


class Urgent(PartitionWorker):
    commits: CommitsWhenTold
    logic: AlwaysUrgent

    async def _work(self) -> None:
        producer: Any = self.commits
        logic: Any = self.logic
        await self._loop(producer, logic)


async def test_what_comes_while_a_transaction_commits_is_all_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.runtime.partition_reader.TICK_S", 3600.0)  # only the commit's end can begin the next one
    consumer: Any = OneByOne()
    anything: Any = SimpleNamespace(
        source_started=True, ends={}, batch_size=50, commit_interval_ms=60_000, metrics=stage_metrics()
    )
    worker = Urgent(anything, anything, consumer, TopicPartition("orders", 0), assigned(), anything, anything, Health())
    worker.commits, worker.logic = CommitsWhenTold(), AlwaysUrgent()
    worker.start(lambda _: None)
    async with asyncio.timeout(10):
        for offset in range(4):  # each is read before the next one comes
            consumer.next.release()
            assert await worker.logic.records.get() == offset
        assert await worker.commits.begun.get() == 1
        assert worker.commits.begun.empty()
        worker.commits.told.release()
        assert await worker.commits.begun.get() == 4
    worker.commits.told.release()
    await worker.stop()
