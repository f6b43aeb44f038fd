"""Transactions become so small that they are written in time, and large again."""

from random import Random

import pytest

from libs.runtime.exactly_once.transaction_size import MAX_BYTES, MAX_RECORDS, TARGET_S, TransactionSize
from libs.runtime.timing import TRANSACTION_TIMEOUT_MS

TIMEOUT_S = TRANSACTION_TIMEOUT_MS / 1000
RECORD_BYTES = 250


def write_backlog(size: TransactionSize, bytes_per_s: float, transactions: int) -> list[float]:
    """Write full transactions at this speed; returns how long each took, at most the timeout, after which it is aborted."""
    times_s = []
    for _ in range(transactions):
        records = min(size.max_bytes // RECORD_BYTES, size.max_records)
        times_s.append(write(size, 0.01 + records * RECORD_BYTES / bytes_per_s))
    return times_s


def write(size: TransactionSize, seconds: float) -> float:
    """Write a full transaction, which needs so long; returns how long it took."""
    records = min(size.max_bytes // RECORD_BYTES, size.max_records)
    if seconds >= TIMEOUT_S:
        size.failed(records, records * RECORD_BYTES, TIMEOUT_S)
    else:
        size.committed(records, records * RECORD_BYTES, seconds)
    return min(seconds, TIMEOUT_S)


@pytest.mark.parametrize("bytes_per_s", [30_000, 256_000, 1_000_000])
def test_a_backlog_is_written_at_any_speed(bytes_per_s: int) -> None:
    times_s = write_backlog(TransactionSize(), bytes_per_s, 30)
    assert sum(seconds == TIMEOUT_S for seconds in times_s) <= 4
    assert max(times_s[-20:]) < 2 * TARGET_S
    assert min(times_s[-20:]) > TARGET_S / 4, "and no smaller than that speed needs"


def test_on_a_fast_connection_only_memory_limits_it() -> None:
    size = TransactionSize()
    write_backlog(size, 100_000_000, 30)
    assert (size.max_records, size.max_bytes) == (MAX_RECORDS, MAX_BYTES)


def test_after_an_outage_it_grows_again() -> None:
    size = TransactionSize()
    for _ in range(10):
        size.failed(size.max_records, 0, TIMEOUT_S)
    assert 100 < size.max_records < 1000
    write_backlog(size, 100_000_000, 25)
    assert size.max_bytes == MAX_BYTES


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_failed_small_transaction_does_not_reduce_the_limit(seconds: float) -> None:
    size = TransactionSize()
    size.failed(10, 10 * RECORD_BYTES, TIMEOUT_S)
    assert size.max_bytes == MAX_BYTES
    size.failed(MAX_RECORDS, 0, TIMEOUT_S)
    for _ in range(10):
        size.committed(size.max_records, 0, seconds)
    assert size.max_bytes == MAX_BYTES


@pytest.mark.parametrize("failures", [0, 10])
@pytest.mark.parametrize("seconds", [5.5, 7.0, 12.0])
def test_throughput_is_kept_if_commits_are_slow_at_any_size(seconds: float, failures: int) -> None:
    size = TransactionSize()
    for _ in range(failures):
        size.failed(size.max_records, 0, TIMEOUT_S)
    lag, lags = 0.0, []
    for _ in range(500):
        records = min(int(lag), size.max_records)
        size.committed(records, records * RECORD_BYTES, seconds)
        lag += 2_000 * seconds - records
        lags.append(lag)
    assert max(lags[-100:]) < 3 * 2_000 * seconds


@pytest.mark.parametrize("seed", range(3))
def test_throughput_is_kept_if_commits_are_slow_at_random(seed: int) -> None:
    size, random = TransactionSize(), Random(seed)
    lag, written, elapsed_s = 0.0, 0, 0.0
    for _ in range(500):
        seconds = random.uniform(5, 14)
        records = min(int(lag), size.max_records)
        size.committed(records, records * RECORD_BYTES, seconds)
        lag += 2_000 * seconds - records
        written, elapsed_s = written + records, elapsed_s + seconds
    assert written / elapsed_s > 0.95 * 2_000


def test_a_quota_beside_slow_commits_makes_transactions_smaller_too() -> None:
    size = TransactionSize()
    times_s = [write(size, 3.0 + size.max_bytes / 1_000_000) for _ in range(30)]
    assert max(times_s[-20:]) < 2 * TARGET_S


def test_a_few_records_say_nothing_about_a_larger_transaction() -> None:
    size = TransactionSize()
    size.failed(MAX_RECORDS, 0, TIMEOUT_S)
    before = size.max_bytes
    for _ in range(100):
        size.committed(10, 10 * RECORD_BYTES, 0.01)
    assert size.max_bytes == before


def test_an_error_that_comes_at_once_does_not_make_it_smaller() -> None:
    size = TransactionSize()
    size.failed(MAX_RECORDS, 0, 0.5)
    assert size.max_bytes == MAX_BYTES
