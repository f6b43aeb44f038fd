"""The chaos suite fails a row for a missing marker or missing late orders, and measures stalls that have not ended."""

from types import SimpleNamespace
from typing import Any

from aiokafka.structs import TopicPartition

from doctor.cluster_facts import OpenTransaction
from doctor.complete_transactions import Outcome as Hung
from tests.chaos.episode import Episode, Outcome, _conclude
from tests.chaos.missing_markers import problems_with_markers
from tests.chaos.probe import Probe
from verification.report import Report

OPEN = OpenTransaction("processed-orders", 3, 17, 1, "processor-1-member-0", "CompleteCommit")


def concluded(problems: list[str], *, lateness: bool = False, late: int = 0) -> Outcome:
    """The outcome of an episode on a stack with these problems."""
    probe = SimpleNamespace(stall_s=0.0, peak_lag=0)
    stack: Any = SimpleNamespace(probe=probe, restarts=0, memory_mb={}, problems=problems)
    outcome = Outcome("row", Report(late=late))
    _conclude(Episode("row", [], lateness=lateness), stack, outcome)
    return outcome


async def problems_of(*hung: Hung) -> tuple[list[str], list[str]]:
    """The problems, and all calls in their order."""
    calls: list[str] = []

    async def settled() -> None:
        calls.append("settled")

    async def complete() -> list[Hung]:
        calls.append("complete")
        return list(hung)

    return await problems_with_markers(settled, complete, calls.append), calls


async def test_a_marker_that_the_suite_had_to_write_is_a_problem() -> None:
    problems, calls = await problems_of(Hung(OPEN))
    assert calls == ["settled", "complete"]  # the replicas come first
    assert ["processor-1-member-0 in partition 3 of processed-orders" in each for each in problems] == [True]
    assert not concluded(problems).ok


async def test_what_no_replica_has_promised_to_end_is_said_only() -> None:
    problems, calls = await problems_of(Hung(OPEN, "it is no transaction of this pipeline"))
    assert problems == []
    assert "operator" in calls[-1]
    assert concluded(problems).ok


def test_late_orders_have_to_come_where_they_are_expected_and_only_there() -> None:
    assert concluded([], lateness=True, late=1).ok
    assert not concluded([], lateness=True, late=0).ok
    assert not concluded([], lateness=False, late=1).ok


async def test_a_stall_that_has_not_ended_counts_until_traffic_ends() -> None:
    probe = Probe("localhost:1", "", 2)
    for partition, arrived_at_s in ((0, 10.0), (1, 10.0), (0, 13.0), (0, 15.0)):
        probe._note_arrival(TopicPartition("processed-orders", partition), arrived_at_s)
    await probe.freeze(14.0)
    assert probe.stall_s == 4.0
    await probe.__aexit__(None, None, None)  # later, when services have stopped
    assert probe.stall_s == 4.0
