"""Every order's output is committed exactly once, for all interleavings within a bound.

The interleaved steps are: those of two replicas, the markers of the transaction coordinator, one lost response whose request
arrives at any later time or never, one crash, one rebalance that the former owner does not notice, one move of the
group's coordinator, one look-up that names the former coordinator. The replicas run the real
worker, producer and requests; only the brokers are a model. Variants that break one rule show that the model detects the
violation that the rule prevents.
"""

from types import SimpleNamespace

import pytest

from libs.runtime.backoff import Backoff
from libs.runtime.exactly_once import start_offset, take_over
from libs.runtime.exactly_once import worker as worker_module
from libs.runtime.exactly_once.group_coordinator import GroupCoordinator
from libs.runtime.transactions import open_transactions, producer
from libs.runtime.transactions.connection import GROUP
from tests.model.cluster import Request
from tests.model.exploration import Budget, Exploration, Violation
from tests.model.replica import ModelConnection, Rules, open_connection, read_output


@pytest.fixture(autouse=True)
def replicas_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SimpleNamespace(info=_nothing, warning=_nothing, error=_nothing)
    for module in (worker_module, open_transactions, start_offset, take_over):
        monkeypatch.setattr(module, "log", silent)
    monkeypatch.setattr(worker_module, "BrokerConnection", SimpleNamespace(open=open_connection))
    monkeypatch.setattr(take_over, "read_committed_records", read_output)
    # The model has no time: nothing waits for it, and no timeout expires.
    monkeypatch.setattr(worker_module, "FENCED_WAIT_S", 0.0)
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    monkeypatch.setattr(producer, "COMMIT_TIMEOUT_S", 1e6)
    monkeypatch.setattr(open_transactions, "_LONGEST_S", 1e6)
    monkeypatch.setattr(open_transactions, "_ONE_BROKER_ANSWERS_WITHIN_S", 1e6)
    monkeypatch.setattr("libs.runtime.kafka_client.closing.CLOSE_TIMEOUT_S", 1e6)


def _nothing(*_: object, **__: object) -> None:
    pass


async def explore(rules: Rules, budget: Budget) -> tuple[Violation | None, int]:
    """The first violation, if there is one, and the number of states."""
    exploration = Exploration(rules, budget)
    try:
        return await exploration.run(), exploration.states
    finally:
        await exploration.end()


@pytest.mark.parametrize(
    ("orders", "budget"),
    [
        (3, Budget()),
        (2, Budget(lost=1)),
        (2, Budget(crashes=1)),
        (1, Budget(rebalances=1, switches=2)),
        (1, Budget(lost=1, rebalances=1)),
        (1, Budget(lost=1, outdated=1)),
        (2, Budget(crashes=1, outdated=1)),
        (1, Budget(lost=1, rebalances=1, outdated=1)),
        (1, Budget(rebalances=1, moves=1, outdated=1)),
    ],
    ids=str,
)
async def test_every_output_is_committed_exactly_once(orders: int, budget: Budget) -> None:
    violation, states = await explore(Rules(orders), budget)
    assert violation is None, "\n".join([violation.what, *violation.steps])
    assert states > 50


def of_no_member(request: Request) -> Request:
    return request._replace(generation=-1, member="") if request.name == "TxnOffsetCommit" else request


def unstable(request: Request) -> Request:
    return request._replace(flag=False) if request.name == "OffsetFetch" else request


@pytest.mark.parametrize(
    ("rules", "budget"),
    [
        # As in aiokafka's producer: the late first copy commits records of the next transaction without their offset.
        (Rules(2, repeat=frozenset({"EndTxn"})), Budget(lost=1)),
        (Rules(1, of_no_member), Budget(rebalances=1, switches=1)),
        # The open transactions of former members cannot be listed: then it has to wait for stable offsets.
        (Rules(1, unstable), Budget(lost=1, rebalances=1)),
    ],
    ids=["the producer continues after a lost response", "offsets without a generation", "unstable offsets"],
)
async def test_a_broken_rule_violates_exactly_once(rules: Rules, budget: Budget) -> None:
    violation, _ = await explore(rules, budget)
    assert violation is not None
    assert violation.what.startswith("committed")


async def test_a_coordinator_that_was_only_looked_up_violates_exactly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked_up(_: object, connection: ModelConnection, __: object) -> int:
        return await connection.coordinator(GROUP, "group")

    monkeypatch.setattr(GroupCoordinator, "find", looked_up)
    violation, _ = await explore(Rules(1), Budget(lost=1, outdated=1))
    assert violation is not None
    assert violation.what.startswith("committed")


async def test_a_coordinator_from_before_the_last_commit_violates_exactly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupCoordinator, "accepted", _nothing)
    violation, _ = await explore(Rules(1), Budget(lost=1, moves=1, outdated=1))
    assert violation is not None
    assert violation.what.startswith("committed")
