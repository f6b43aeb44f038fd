"""Retries after failures, and partitions that are left out meanwhile."""

import pytest

from libs.runtime.backoff import Backoff
from libs.runtime.exactly_once.retries import MAX_FAILURES, Retries
from tests.unit.exactly_once.fakes import ORDERS

BAD, GOOD = ORDERS[:2]


class FakeTime:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def test_the_first_failure_of_a_partition_delays_all_partitions_briefly(time: FakeTime) -> None:
    retries = Retries(time)
    assert retries.failed(BAD) == Backoff().next_s()
    assert retries.suspended() == {}


def test_from_the_second_failure_on_a_partition_is_suspended_and_resumed(time: FakeTime) -> None:
    retries, backoff = Retries(time), Backoff()
    retries.failed(BAD)
    backoff.next_s()
    for _ in range(3):
        assert retries.failed(BAD) == 0.0  # the others go on at once
        delay_s = backoff.next_s()
        back_at_s = time.now_s + delay_s
        assert retries.suspended() == {BAD: back_at_s}
        time.now_s = back_at_s - 0.001
        assert retries.suspended() == {BAD: back_at_s}
        time.now_s = back_at_s + 0.001
        assert retries.suspended() == {}


def test_the_first_of_several_suspended_partitions_is_resumed_first(time: FakeTime) -> None:
    retries = Retries(time)
    for partition, failures in ((BAD, 4), (GOOD, 2)):
        for _ in range(failures):
            retries.failed(partition)
    suspended = retries.suspended()
    assert suspended[GOOD] < suspended[BAD]
    time.now_s = suspended[GOOD] + 0.001
    assert retries.suspended().keys() == {BAD}


def test_after_two_unattributed_failures_each_partition_commits_alone_for_a_while(time: FakeTime) -> None:
    retries, backoff = Retries(time), Backoff()
    assert retries.failed(None) == backoff.next_s()
    assert retries.isolated_until_s < time.now_s
    assert retries.failed(None) == backoff.next_s()
    assert retries.isolated_until_s == time.now_s + 60
    assert retries.suspended() == {}


def test_an_attributed_failure_does_not_make_the_others_commit_alone(time: FakeTime) -> None:
    retries = Retries(time)
    for _ in range(5):
        retries.failed(BAD)
    assert retries.isolated_until_s < time.now_s


@pytest.mark.parametrize("partition", [None, BAD])
def test_after_too_many_failures_in_a_row_it_is_exhausted(partition: object, time: FakeTime) -> None:
    retries = Retries(time)
    failed_partition = BAD if partition else None
    for failures in range(1, MAX_FAILURES + 1):
        retries.failed(failed_partition)
        assert retries.failures(failed_partition) == failures
        assert not retries.exhausted
    retries.failed(failed_partition)
    assert retries.exhausted


def test_failures_of_two_partitions_do_not_add_up(time: FakeTime) -> None:
    retries = Retries(time)
    for _ in range(MAX_FAILURES):
        retries.failed(BAD)
        retries.failed(GOOD)
        retries.failed(None)
    assert not retries.exhausted


def test_a_commit_of_a_partition_resets_its_count_and_the_unattributed_one(time: FakeTime) -> None:
    retries = Retries(time)
    for _ in range(MAX_FAILURES):
        retries.failed(BAD)
        retries.failed(GOOD)
        retries.failed(None)
    retries.committed([BAD])
    assert (retries.failures(BAD), retries.failures(GOOD), retries.failures(None)) == (0, MAX_FAILURES, 0)
    assert retries.suspended().keys() == {GOOD}
    assert retries.failed(BAD) == retries.failed(None) == Backoff().next_s()


def test_a_commit_of_others_does_not_resume_a_failing_partition(time: FakeTime) -> None:
    retries = Retries(time)
    for _ in range(MAX_FAILURES):
        retries.failed(BAD)
    retries.committed([GOOD])
    assert retries.suspended().keys() == {BAD}
    retries.failed(BAD)
    assert retries.exhausted


def test_an_outage_is_not_counted_as_a_failure(time: FakeTime) -> None:
    retries, backoff = Retries(time), Backoff()
    assert retries.outage() == 0.0  # one broken connection
    for _ in range(10 * MAX_FAILURES):
        assert retries.outage() == backoff.next_s()
    assert not retries.exhausted
    assert retries.isolated_until_s < time.now_s
    retries.committed([GOOD])
    assert [retries.outage(), retries.outage()] == [0.0, Backoff().next_s()]
