import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError
from prometheus_client import CollectorRegistry

from libs.runtime.errors import AnswerLostError, NotAMemberError, TransactionFencedError, TransactionTimeoutError
from libs.runtime.exactly_once import pipelined_commits, transaction_size
from libs.runtime.exactly_once.pipelined_commits import PipelinedCommits
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.metrics import totals
from tests.unit.exactly_once.fakes import MEMBER, ORDERS, EmptyTally, FakeProducer, make_commits, stage_metrics


def at(*positions: int) -> dict[Any, int]:
    """Offsets of the first partitions."""
    return dict(zip(ORDERS, positions, strict=False))


async def test_a_transaction_is_filled_while_the_previous_one_commits() -> None:
    producer, counts = FakeProducer(completes=False), list[Any]()
    one, other = EmptyTally(), EmptyTally()
    commits = make_commits(producer, counts=counts)
    first = commits.outputs
    commits.open(5)
    await commits.commit(at(5), [one])
    second = commits.outputs
    assert second is not first
    commits.open(4)
    third = asyncio.create_task(commits.commit(at(9, 2), [other]))
    await asyncio.sleep(0)
    assert not third.done()
    producer.completion.release()
    await third
    producer.completion.release()
    await commits.close()
    assert producer.commits == [(first, at(5)), (second, at(9, 2))]
    assert producer.members == [MEMBER] * 2
    assert counts == [(at(5), [one]), (at(9, 2), [other])]


async def test_a_failed_commit_is_raised_and_not_counted() -> None:
    producer, counts = FakeProducer(), list[Any]()
    producer.error = RuntimeError("refused")
    commits = make_commits(producer, counts=counts)
    commits.open()
    await commits.commit(at(5), [EmptyTally()])
    with pytest.raises(RuntimeError, match="refused"):
        await commits.commit(at(6), [EmptyTally()])
    await commits.close()
    assert counts == []


async def test_a_failed_commit_is_raised_by_the_next_check() -> None:
    producer = FakeProducer(completes=False)
    producer.error = RuntimeError("refused")
    commits = make_commits(producer)
    commits.open()
    await commits.commit(at(5), [EmptyTally()])
    commits.check()
    producer.completion.release()
    awaited = commits.awaited
    assert awaited is not None
    await asyncio.wait({awaited})
    with pytest.raises(RuntimeError, match="refused"):
        commits.check()


async def test_the_offsets_of_a_failed_commit_are_known() -> None:
    producer = FakeProducer()
    commits = make_commits(producer)
    commits.open()
    await commits.commit(at(5), [EmptyTally()])
    await commits.close()
    assert commits.failed == {}
    commits = make_commits(producer)
    producer.error = RuntimeError("refused")
    commits.open()
    await commits.commit(at(6), [EmptyTally()])
    await commits.close()
    assert commits.failed == at(6)


async def test_cancelling_the_wait_for_a_commit_cancels_the_commit() -> None:
    """The producer is discarded next, and a commit that continued would still use it."""
    producer = FakeProducer(completes=False)
    commits = make_commits(producer)
    commits.open()
    await commits.commit(at(5), [EmptyTally()])
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0)
    assert producer.committing == 1
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert producer.committing == 0


async def test_a_commit_that_does_not_end_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelined_commits, "CLOSE_TIMEOUT_S", 0.0)
    producer = FakeProducer(completes=False)
    commits = make_commits(producer)
    commits.open()
    await commits.commit(at(5), [EmptyTally()])
    await asyncio.sleep(0)
    await commits.close()
    assert (producer.committing, producer.commits) == (0, [])


def write(commits: PipelinedCommits, count: int, value: bytes = b"value") -> None:
    commits.outputs.extend("out", [0] * count, [(None, value, 0)] * count, [])


async def test_records_of_a_transaction_are_counted_when_it_is_committed() -> None:
    producer, registry = FakeProducer(completes=False), CollectorRegistry()
    commits = make_commits(producer, metrics=stage_metrics(registry))
    write(commits, 8)
    commits.open(5)
    commits.open(2)
    await commits.commit(at(7), [EmptyTally()])
    await asyncio.sleep(0)
    assert totals(registry) == {}
    producer.completion.release()
    commits.open(1)
    await commits.commit(at(8), [EmptyTally()])
    producer.completion.release()
    await commits.close()
    assert totals(registry) == {"transactions_committed": 2, "records_consumed_orders": 8, "records_produced_out": 8}
    assert registry.get_sample_value("pipeline_transaction_records_sum") == 8
    assert registry.get_sample_value("pipeline_transaction_records_bucket", {"le": "1.0"}) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TransactionFencedError("ended"), "fenced"),
        (NotAMemberError("gone"), "fenced"),
        (TransactionTimeoutError("no commit within 20 s"), "timed_out"),
        (AnswerLostError("no answer"), "failed"),
        (KafkaConnectionError(), "failed"),
    ],
)
async def test_an_aborted_transaction_is_counted_only_as_aborted(error: Exception, outcome: str) -> None:
    producer, registry = FakeProducer(), CollectorRegistry()
    producer.error = error
    commits = make_commits(producer, metrics=stage_metrics(registry))
    commits.open(5)
    await commits.commit(at(5), [EmptyTally()])
    await commits.close()
    assert totals(registry) == {f"transactions_{outcome}": 1}


async def test_log_lines_have_the_number_of_the_transaction() -> None:
    commits = make_commits(FakeProducer())
    assert "transaction" not in structlog.contextvars.get_contextvars()
    commits.open(5)
    commits.open(5)
    assert structlog.contextvars.get_contextvars()["transaction"] == 1
    await commits.commit(at(51), [EmptyTally()])
    assert "transaction" not in structlog.contextvars.get_contextvars()
    commits.open()
    assert structlog.contextvars.get_contextvars()["transaction"] == 2
    await commits.close()


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelined_commits, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.mark.usefixtures("stopped_clock")
async def test_the_commit_interval_begins_with_the_first_output() -> None:
    commits = make_commits(FakeProducer())
    assert commits.due_in_s(urgent=False) is None
    assert commits.idle
    commits.open()
    assert commits.due_in_s(urgent=False) == 60
    assert not commits.idle


@pytest.mark.usefixtures("stopped_clock")
async def test_in_a_backlog_a_transaction_lasts_longer() -> None:
    commits = make_commits(FakeProducer())
    commits.open(50)
    assert commits.due_in_s(urgent=False) == 60
    commits.in_backlog = True
    assert commits.due_in_s(urgent=False) == 180


async def test_a_transaction_with_very_many_output_records_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regardless of the number of input records: only output is kept in memory, and what is going to be written."""
    monkeypatch.setattr(transaction_size, "MAX_RECORDS", 1_000)
    commits = make_commits(FakeProducer())
    commits.open(1_000_000)
    write(commits, 599)
    commits.pending_records = 400
    assert commits.due_in_s(urgent=False) != 0
    assert not commits.overdue
    write(commits, 1)
    assert commits.due_in_s(urgent=False) == 0
    assert commits.overdue


async def test_a_transaction_with_very_many_output_bytes_is_due_even_during_a_fetch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_size, "MAX_BYTES", 1_000_000)
    commits = make_commits(FakeProducer())
    assert not commits.overdue
    commits.open()
    write(commits, 9, bytes(100_000))
    assert commits.due_in_s(urgent=False) != 0
    assert not commits.overdue
    write(commits, 2, bytes(100_000))
    assert commits.due_in_s(urgent=False) == 0
    assert commits.overdue


async def test_a_transaction_that_was_filled_for_long_ends_during_a_fetch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commits = make_commits(FakeProducer())
    commits.open()
    assert not commits.overdue
    monkeypatch.setattr(pipelined_commits, "_LONGEST_FILL_S", 0.0)
    assert commits.overdue


async def test_an_urgent_transaction_waits_for_the_previous_commit_and_collects_records() -> None:
    producer = FakeProducer(completes=False)
    commits = make_commits(producer)
    assert commits.due_in_s(urgent=True) is None  # nothing to commit
    commits.open()
    assert commits.due_in_s(urgent=False) != 0
    assert commits.due_in_s(urgent=True) == 0
    await commits.commit(at(5), [EmptyTally()])
    commits.open()
    assert commits.due_in_s(urgent=True) is None  # the previous commit is in progress
    producer.completion.release()
    await commits.close()


async def test_a_transaction_is_filled_until_the_previous_commit_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many partitions a commit takes long, and small transactions would only queue behind it."""
    monkeypatch.setattr(pipelined_commits, "_LONGEST_FILL_S", 0.0)
    producer = FakeProducer(completes=False)
    commits = make_commits(producer, interval_ms=0)
    commits.open()
    assert commits.due_in_s(urgent=False) == 0
    await commits.commit(at(5), [EmptyTally()])
    commits.open()
    assert commits.due_in_s(urgent=False) is None
    assert not commits.overdue
    producer.completion.release()
    assert commits.awaited is not None
    await commits.awaited
    assert commits.due_in_s(urgent=False) == 0
    assert commits.overdue
    await commits.close()


@pytest.mark.parametrize("error", [None, TransactionFencedError("error code 47")])
async def test_a_transaction_that_takes_long_makes_the_next_one_smaller(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction_size, "TARGET_S", 0.0)
    producer, size = FakeProducer(), TransactionSize()
    producer.error = error
    commits = make_commits(producer, size=size)
    commits.open()
    write(commits, 1, bytes(2_000_000))
    await commits.commit(at(5), [])
    await commits.close()
    assert size.max_bytes < 2_000_000
    commits = make_commits(producer, size=size)
    commits.open()
    write(commits, 1, bytes(size.max_bytes + 1))
    assert commits.due_in_s(urgent=False) == 0
    assert commits.overdue


@pytest.mark.parametrize("error", [None, NotAMemberError("gone")])
async def test_a_commit_that_a_stop_or_a_rebalance_ends_does_not_make_the_next_one_smaller(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an error it does not end, and is cancelled."""
    monkeypatch.setattr(transaction_size, "TARGET_S", 0.0)
    monkeypatch.setattr(pipelined_commits, "CLOSE_TIMEOUT_S", 0.0 if error is None else 30.0)
    producer, size = FakeProducer(completes=error is not None), TransactionSize()
    producer.error = error
    commits = make_commits(producer, size=size)
    commits.open()
    write(commits, 1, bytes(2_000_000))
    await commits.commit(at(5), [])
    await producer.begun.get()
    await commits.close()
    assert commits.failed == at(5)
    assert size.max_bytes == transaction_size.MAX_BYTES


async def test_a_full_transaction_waits_for_the_previous_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """So no more records are read: memory is bounded."""
    monkeypatch.setattr(transaction_size, "MAX_BYTES", 1_000_000)
    producer = FakeProducer(completes=False)
    commits = make_commits(producer)
    commits.open()
    await commits.commit(at(5), [EmptyTally()])
    commits.open()
    write(commits, 11, bytes(100_000))
    assert commits.due_in_s(urgent=False) == 0
    assert commits.overdue
    producer.completion.release()
    await commits.close()
