import asyncio
import http.client
import json
from typing import cast

import pytest
import structlog
from aiokafka.errors import InvalidProducerEpoch, KafkaConnectionError, ProducerFenced
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.runtime.broker import Backoff
from libs.runtime.cycle import CommitCycle
from libs.runtime.errors import NotAMemberError, TransactionTimeoutError
from libs.runtime.health import Health, HealthServer
from libs.runtime.metrics import StageMetrics, totals
from libs.runtime.timing import HEALTHY_FOR_S
from libs.runtime.transaction import OutputBuffer, TransactionalProducer
from libs.runtime.turns import CommitTurns
from libs.runtime.waiting import unless_stopped


class NoOutputs:
    def batches(self) -> dict[object, object]:
        return {}


class Done:
    def count(self, now_s: float) -> None:
        pass


class FakeProducer:
    """Commits when it is told to, and remembers what."""

    def __init__(self) -> None:
        self.committing = 0
        self.buffers: list[NoOutputs] = []
        self.commits: list[tuple[object, int]] = []
        self.released = asyncio.Event()
        self.error: Exception | None = None

    def buffer(self) -> OutputBuffer:
        self.buffers.append(NoOutputs())
        return cast(OutputBuffer, self.buffers[-1])

    async def commit(self, outputs: object, source: TopicPartition, position: int) -> None:
        self.committing += 1
        try:
            await self.released.wait()
        finally:
            self.committing -= 1
        if self.error:
            raise self.error
        self.commits.append((outputs, position))


MOST_RECORDS = 10_000


def make_cycle(
    producer: FakeProducer,
    interval_ms: int,
    counts: list[object],
    registry: CollectorRegistry | None = None,
    turns: CommitTurns | None = None,
) -> CommitCycle:
    metrics = StageMetrics(registry or CollectorRegistry(), "t", ["out"], stateful=False)
    partition = TopicPartition("t", 0)
    return CommitCycle(
        cast(TransactionalProducer, producer),
        partition,
        interval_ms,
        MOST_RECORDS,
        turns or CommitTurns(),
        metrics,
        lambda position, tally: counts.append((position, tally)),
    )


async def test_one_transaction_is_filled_while_the_one_before_commits() -> None:
    producer, counts = FakeProducer(), list[object]()
    one, other = Done(), Done()
    cycle = make_cycle(producer, 100, counts)
    first = cycle.outputs
    cycle.open(0)
    await cycle.commit(5, one)
    second = cycle.outputs
    assert second is not first
    cycle.open(0)
    third = asyncio.create_task(cycle.commit(9, other))
    await asyncio.sleep(0)
    assert not third.done()
    producer.released.set()
    await third
    await cycle.close()
    assert producer.commits == [(first, 5), (second, 9)]
    assert counts == [(5, one), (9, other)]


async def test_a_failed_commit_is_raised_and_counts_nothing() -> None:
    producer, counts = FakeProducer(), list[object]()
    producer.error = RuntimeError("refused")
    producer.released.set()
    cycle = make_cycle(producer, 100, counts)
    cycle.open(0)
    await cycle.commit(5, Done())
    with pytest.raises(RuntimeError, match="refused"):
        await cycle.commit(6, Done())
    await cycle.close()
    assert counts == []


async def test_who_stops_waiting_for_a_commit_leaves_none_behind() -> None:
    """The producer is closed next: a commit that went on would use it meanwhile."""
    producer = FakeProducer()
    cycle = make_cycle(producer, 100, [])
    cycle.open(0)
    await cycle.commit(5, Done())
    closing = asyncio.create_task(cycle.close())
    await asyncio.sleep(0)
    assert producer.committing == 1
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert producer.committing == 0


class Batch:
    def __init__(self, records: int) -> None:
        self._records = records

    def record_count(self) -> int:
        return self._records


class Outputs(NoOutputs):
    def __init__(self, records: int) -> None:
        self._records = records

    def batches(self) -> dict[object, object]:
        return {("out", 0): [Batch(3), Batch(4)], ("out", 5): [Batch(self._records - 7)]}


async def test_what_a_transaction_took_and_wrote_is_counted_when_it_is_committed() -> None:
    producer, registry = FakeProducer(), CollectorRegistry()
    cycle = make_cycle(producer, 100, [], registry)
    cycle.outputs = cast(OutputBuffer, Outputs(8))
    cycle.open(0, 5)
    cycle.open(5, 2)
    await cycle.commit(7, Done())
    await asyncio.sleep(0)
    assert totals(registry) == {}
    producer.released.set()
    cycle.open(7, 1)
    await cycle.commit(8, Done())
    await cycle.close()
    assert totals(registry) == {"transactions_committed": 2, "records_consumed_t": 8, "records_produced_out": 8}
    assert registry.get_sample_value("pipeline_transaction_records_sum") == 8
    assert registry.get_sample_value("pipeline_transaction_records_bucket", {"le": "1.0"}) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ProducerFenced(), "fenced"),
        (InvalidProducerEpoch(), "fenced"),
        (NotAMemberError("gone"), "fenced"),
        (TransactionTimeoutError("no commit within 20 s"), "timed_out"),
        (KafkaConnectionError(), "failed"),
    ],
)
async def test_a_transaction_that_is_aborted_is_counted_as_nothing_else(error: Exception, outcome: str) -> None:
    producer, registry = FakeProducer(), CollectorRegistry()
    producer.error = error
    producer.released.set()
    cycle = make_cycle(producer, 100, [], registry)
    cycle.open(0, 5)
    await cycle.commit(5, Done())
    await cycle.close()
    assert totals(registry) == {f"transactions_{outcome}": 1}


async def test_the_log_knows_a_transaction_by_its_first_offset() -> None:
    cycle = make_cycle(FakeProducer(), 100, [])
    assert "transaction" not in structlog.contextvars.get_contextvars()
    cycle.open(41, 5)
    cycle.open(46, 5)
    assert structlog.contextvars.get_contextvars()["transaction"] == 41
    await cycle.commit(51, Done())
    assert "transaction" not in structlog.contextvars.get_contextvars()
    cycle.open(51)
    assert structlog.contextvars.get_contextvars()["transaction"] == 51


async def test_the_interval_begins_with_the_first_thing_to_commit() -> None:
    cycle = make_cycle(FakeProducer(), 60_000, [])
    assert cycle.due_in_s() is None
    cycle.open(0)
    due_in_s = cycle.due_in_s()
    assert due_in_s is not None
    assert 59 < due_in_s <= 60
    assert not cycle.idle


async def test_in_a_backlog_a_transaction_lasts_longer() -> None:
    cycle = make_cycle(FakeProducer(), 60_000, [])
    cycle.open(0, 50)
    cycle.waiting = 50
    assert 59 < (cycle.due_in_s() or 0) <= 60
    cycle.waiting = 51
    assert 179 < (cycle.due_in_s() or 0) <= 180


async def test_a_transaction_that_writes_very_many_records_is_due() -> None:
    """However many it reads: only what it writes is kept in memory."""
    cycle = make_cycle(FakeProducer(), 60_000, [])
    cycle.open(0, 10 * MOST_RECORDS)
    cycle.outputs = cast(OutputBuffer, Outputs(MOST_RECORDS - 1))
    assert not cycle.is_due(urgent=False)
    cycle.outputs = cast(OutputBuffer, Outputs(MOST_RECORDS))
    assert cycle.due_in_s() == 0
    assert cycle.is_due(urgent=False)


async def test_what_is_urgent_waits_for_its_turn_and_takes_in_what_comes_meanwhile() -> None:
    producer, turns = FakeProducer(), CommitTurns()
    cycle = make_cycle(producer, 60_000, [], turns=turns)
    others = [turns.ask() for _ in range(2)]
    assert not cycle.is_due(urgent=True)
    assert cycle.awaited is None
    cycle.open(0)
    assert not cycle.is_due(urgent=False)
    assert cycle.awaited is None
    assert not cycle.is_due(urgent=True)
    assert not cycle.is_due(urgent=True)
    turn = cycle.awaited
    assert turn is not None
    assert not turn.done()
    for other in others:
        turns.give_back(other)
    assert turn.done()
    assert cycle.is_due(urgent=False)  # its turn has come, though there is more to read by now
    await cycle.commit(5, Done())
    cycle.open(5)
    assert not cycle.is_due(urgent=True)  # the one before is under way
    producer.released.set()
    await cycle.close()
    assert turns.ask().done()


async def test_what_is_due_waits_for_no_turn() -> None:
    producer, turns = FakeProducer(), CommitTurns()
    producer.released.set()
    cycle = make_cycle(producer, 0, [], turns=turns)
    others = [turns.ask() for _ in range(2)]
    cycle.open(0)
    assert cycle.is_due(urgent=True)
    await cycle.commit(5, Done())
    await cycle.close()
    assert [position for _, position in producer.commits] == [5]
    turns.give_back(others[0])
    assert turns.ask().done()


@pytest.mark.parametrize("error", [None, KafkaConnectionError()])
async def test_a_turn_is_given_back_whatever_comes_of_it(error: Exception | None) -> None:
    producer, turns = FakeProducer(), CommitTurns()
    producer.error = error
    producer.released.set()
    for _ in range(4):
        cycle = make_cycle(producer, 60_000, [], turns=turns)
        cycle.open(0)
        assert cycle.is_due(urgent=True)
        await cycle.commit(5, Done())
        await cycle.close()
    for _ in range(4):
        cycle = make_cycle(producer, 60_000, [], turns=turns)
        cycle.open(0)
        assert cycle.is_due(urgent=True)
        await cycle.close()  # without a commit


async def test_work_ends_when_asked_to_stop() -> None:
    stop = asyncio.Event()
    assert await unless_stopped(asyncio.sleep(0, "done"), stop) == "done"
    waiting = asyncio.create_task(unless_stopped(asyncio.sleep(3600, "done"), stop))
    await asyncio.sleep(0)
    stop.set()
    assert await waiting is None


def test_delays_double_up_to_a_limit() -> None:
    backoff = Backoff(first_s=1, longest_s=5)
    assert [backoff.next_s() for _ in range(4)] == [1, 2, 4, 5]
    backoff.reset()
    assert backoff.next_s() == 1


def get_health(port: int, path: str = "/health") -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    body: dict[str, object] = json.loads(response.read())
    connection.close()
    return response.status, body


def test_health_needs_every_sign_of_life_in_time() -> None:
    now_s = 1000.0
    health = Health(lambda: now_s)
    assert not health.report()[0]
    health.started()
    health.beat("orders-0")
    assert health.report()[0]
    now_s += HEALTHY_FOR_S + 1
    health.beat("connected")
    healthy, report = health.report()
    assert not healthy
    assert report["reason"] == "no progress: orders-0"
    health.forget("orders-0")
    assert health.report()[0]


def test_health_over_http() -> None:
    health = Health()
    with HealthServer(health, CollectorRegistry(), "127.0.0.1", 0) as server:
        assert get_health(server.port)[0] == 503
        health.started()
        status, report = get_health(server.port)
        assert status == 200
        assert report["healthy"] is True
        assert get_health(server.port, "/nothing")[0] == 404
