"""The loop of one attempt."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from libs.runtime.exactly_once import processing
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.kafka_client import idle_polling
from libs.runtime.timing import FETCH_MAX_WAIT_MS, TRANSACTION_TIMEOUT_MS
from libs.runtime.transactions.record_batches import OutputBuffer
from tests.unit.exactly_once.attempt import Attempt
from tests.unit.exactly_once.fakes import ORDERS, Backlog, EmptyTally, FakeConsumer, FakeLogic


async def test_it_stops_in_the_middle_of_a_backlog() -> None:
    backlog = Backlog()
    attempt = Attempt(backlog, [FakeLogic()], interval_ms=1)
    await backlog.busy.wait()
    before = backlog.reads
    await attempt.end()
    assert backlog.reads <= before + 2


async def test_slow_processing_is_committed_during_a_fetch_and_can_be_stopped_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("libs.runtime.exactly_once.pipelined_commits._LONGEST_FILL_S", 0.0)
    monkeypatch.setattr(processing, "MAX_BLOCKING_S", 0.0)
    consumer = FakeConsumer()
    consumer.put({ORDERS[0]: range(10_000)})
    attempt = Attempt(consumer, [FakeLogic()])
    assert [await attempt.committed() for _ in range(3)] == [{ORDERS[0]: 50}, {ORDERS[0]: 100}, {ORDERS[0]: 150}]
    await attempt.end()
    assert all(offsets[ORDERS[0]] < 10_000 for offsets in attempt.producer.offsets)


class WritesBeforeTheCommit(FakeLogic):
    """Writes a record for each input record, but only right before the commit, as the analytics writes its changelog."""

    def process(self, batch: Sequence[Any], _: OutputBuffer) -> None:
        self.pending_records += len(batch)

    def before_commit(self, output: Any, position: int) -> EmptyTally:
        output.extend("out", [0] * self.pending_records, [(None, b"", 0)] * self.pending_records, [])
        self.pending_records = 0
        return super().before_commit(output, position)


async def test_what_is_written_before_the_commit_counts_for_the_size_of_a_transaction() -> None:
    """A changelog under a client quota: otherwise a transaction that was not written in time is filled again as it was."""
    size = TransactionSize()
    for _ in range(4):
        size.failed(size.max_records, 0, TRANSACTION_TIMEOUT_MS / 1000)
    attempt = Attempt(consumer := FakeConsumer(), [WritesBeforeTheCommit()], size=size)
    consumer.put({ORDERS[0]: range(10_000)})
    limit = size.max_records
    assert limit <= (await attempt.committed())[ORDERS[0]] < limit + attempt.stage.batch_size
    await attempt.end()
    assert (
        sum(outputs.record_count for outputs, _ in attempt.producer.commits) == attempt.producer.offsets[-1][ORDERS[0]]
    )


@pytest.mark.usefixtures("no_ticks")
async def test_records_processed_during_a_commit_are_in_the_next_transaction() -> None:
    """Only the end of the commit can begin the next one."""
    consumer = FakeConsumer()
    attempt = Attempt(consumer, [FakeLogic(urgent=True)], commits_complete=False)
    for offset in range(4):  # each is read before the next one arrives
        consumer.put({ORDERS[0]: [offset]})
        assert await attempt.processed(0, 1) == [offset]
    assert await attempt.committed() == {ORDERS[0]: 1}
    assert attempt.producer.begun.empty()
    attempt.producer.completion.release()
    assert await attempt.committed() == {ORDERS[0]: 4}
    attempt.producer.completion.release()
    await attempt.end()
    assert attempt.producer.offsets == [{ORDERS[0]: 1}, {ORDERS[0]: 4}]


@pytest.mark.usefixtures("no_ticks")
async def test_a_transaction_has_exactly_the_partitions_with_new_records() -> None:
    consumer = FakeConsumer()
    attempt = Attempt(consumer, [FakeLogic() for _ in range(3)], interval_ms=0)
    consumer.put({ORDERS[0]: [0, 1], ORDERS[2]: [7]})
    assert await attempt.committed() == {ORDERS[0]: 2, ORDERS[2]: 8}
    await attempt.end()
    [(outputs, _)] = attempt.producer.commits
    assert outputs.record_counts() == {"out": 3}


class Counts(FakeLogic):
    """Keeps an entry of state for each record."""

    def process(self, batch: Sequence[Any], output: OutputBuffer) -> None:
        super().process(batch, output)
        self.state_size += len(batch)


@pytest.mark.usefixtures("no_ticks")
async def test_the_size_of_the_state_is_shown_once_a_commit_is_sent() -> None:
    """From then on there may be no lag. Without lag and state nothing is left to do: `pipeline drain` relies on it."""
    consumer = FakeConsumer()
    attempt = Attempt(consumer, [Counts(), Counts()], interval_ms=0)
    shown = attempt.stage.metrics.state_entries.labels
    for count in (2, 3):
        consumer.put({ORDERS[1]: range(consumer.positions.get(ORDERS[1], 0), count)})
        await attempt.committed()
        assert (shown("orders", 0)._value.get(), shown("orders", 1)._value.get()) == (0, count)
    await attempt.end()


@pytest.mark.usefixtures("no_ticks")
async def test_an_urgent_transaction_waits_until_a_partition_is_read_to_its_end() -> None:
    consumer = FakeConsumer()
    consumer.ends = {ORDERS[0]: 3, ORDERS[1]: 9}
    attempt = Attempt(consumer, [FakeLogic(urgent=True), FakeLogic()])
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [0]})
    consumer.put({ORDERS[0]: [1], ORDERS[1]: [1]})
    consumer.put({ORDERS[0]: [2]})
    assert await attempt.committed() == {ORDERS[0]: 3, ORDERS[1]: 2}
    await attempt.end()


@pytest.mark.usefixtures("no_ticks")
async def test_there_is_a_backlog_only_if_all_partitions_with_records_have_one() -> None:
    consumer = FakeConsumer()
    consumer.ends = {ORDERS[0]: 10, ORDERS[1]: 10}
    attempt = Attempt(consumer, [FakeLogic(), FakeLogic()])
    assert not attempt.commits.in_backlog
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [0]})
    await attempt.processed(1, 1)
    await asyncio.sleep(0)
    assert attempt.commits.in_backlog
    consumer.put({ORDERS[1]: range(1, 10)})
    await attempt.processed(1, 9)
    await asyncio.sleep(0)
    assert not attempt.commits.in_backlog
    await attempt.end()


async def test_output_that_becomes_urgent_by_the_clock_is_committed_without_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    attempt = Attempt(FakeConsumer(), [FakeLogic(), FakeLogic(urgent=True)])
    attempt.partitions[1].position = 7
    assert await attempt.committed() == {ORDERS[1]: 7}
    await attempt.end()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_replica_that_waits_for_the_clock_is_not_idle(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    monkeypatch.setattr(idle_polling, "IDLE_AFTER_S", 0.01)
    monkeypatch.setattr(idle_polling, "IDLE_INTERVAL_S", 0.002)
    checked = asyncio.Event()
    logics = [FakeLogic(), FakeLogic()]
    logics[1].waits_for_clock = waits
    attempt = Attempt(consumer := FakeConsumer(), logics)
    monkeypatch.setattr(attempt.partitions[0].stuck_check, "update", lambda **_: checked.set())
    for _ in range(30):
        checked.clear()
        await checked.wait()
    assert (consumer._fetcher._fetch_max_wait_ms < FETCH_MAX_WAIT_MS) is not waits
    await attempt.end()


@pytest.mark.usefixtures("no_ticks")
async def test_offsets_of_transaction_markers_are_committed_but_never_those_of_unprocessed_records() -> None:
    consumer = FakeConsumer()
    consumer.positions[ORDERS[0]] = 5  # a marker is at offset 4
    attempt = Attempt(consumer, [FakeLogic()], interval_ms=0)
    consumer.put({ORDERS[0]: [2, 3]})
    assert await attempt.committed() == {ORDERS[0]: 5}
    await attempt.end()


@pytest.mark.usefixtures("no_ticks")
async def test_records_of_a_suspended_partition_are_not_processed() -> None:
    """The records were fetched before the partition was paused."""
    consumer = FakeConsumer()
    attempt = Attempt(consumer, [FakeLogic()], interval_ms=0)
    consumer.put({ORDERS[1]: [0], ORDERS[0]: [0]})
    assert await attempt.committed() == {ORDERS[0]: 1}
    await attempt.end()


@pytest.mark.usefixtures("no_ticks")
async def test_in_isolated_mode_no_transaction_has_two_partitions() -> None:
    consumer = FakeConsumer()
    attempt = Attempt(consumer, [FakeLogic(), FakeLogic()], interval_ms=0, isolated_until_s=float("inf"))
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [0]})
    assert [await attempt.committed() for _ in range(2)] == [{ORDERS[0]: 1}, {ORDERS[1]: 1}]
    await attempt.end()


async def test_in_isolated_mode_an_urgent_partition_waits_for_a_transaction_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise each transaction has all of them, and the one whose output is refused is never found."""
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    logics = [FakeLogic(urgent=True) for _ in range(3)]
    attempt = Attempt(consumer := FakeConsumer(), logics, interval_ms=0, isolated_until_s=float("inf"))
    consumer.put({ORDERS[1]: [0]})
    committed: set[Any] = set()
    while len(committed) < len(logics):
        [source] = await attempt.committed()
        committed.add(source)
        logics[source.partition].urgent = False
    await attempt.end()


@pytest.mark.usefixtures("no_ticks")
async def test_isolated_mode_ends_after_a_while() -> None:
    consumer = FakeConsumer()
    attempt = Attempt(consumer, [FakeLogic(), FakeLogic()], interval_ms=0, isolated_until_s=time.monotonic())
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [0]})
    assert await attempt.committed() == {ORDERS[0]: 1, ORDERS[1]: 1}
    await attempt.end()


async def test_at_its_time_limit_it_commits_and_ends_even_in_a_backlog() -> None:
    attempt = Attempt(backlog := Backlog(), [FakeLogic()], commits_complete=False)
    await attempt.end()
    attempt.stop.clear()
    running = asyncio.create_task(attempt.processing.run(until_s=time.monotonic() + 0.1))
    offsets = await attempt.committed()
    reads = backlog.reads
    assert not running.done()
    attempt.producer.completion.release()
    async with asyncio.timeout(600):
        await running
    assert attempt.producer.offsets == [offsets]
    assert offsets == {ORDERS[0]: attempt.partitions[0].position}
    assert backlog.reads == reads


async def test_a_failed_commit_at_its_time_limit_is_a_failure() -> None:
    attempt = Attempt(FakeConsumer(), [FakeLogic()], interval_ms=0)
    await attempt.end()
    attempt.stop.clear()
    attempt.producer.error = RuntimeError("refused")
    attempt.consumer.put({ORDERS[0]: [0]})
    with pytest.raises(RuntimeError, match="refused"):
        await attempt.processing.run(until_s=0.0)


@pytest.mark.usefixtures("no_ticks")
async def test_log_lines_have_the_partition_and_the_transaction_of_the_record() -> None:
    attempt = Attempt(consumer := FakeConsumer(), [FakeLogic(), FakeLogic()], interval_ms=0)
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [0]})
    await attempt.committed()
    consumer.put({ORDERS[1]: [1]})
    await attempt.committed()
    await attempt.end()
    assert attempt.logics[0].contexts == [{"partition": "orders-0", "transaction": 1}]
    assert attempt.logics[1].contexts == [{"partition": "orders-1", "transaction": n} for n in (1, 2)]
