"""A broker that does not know that it is no longer the group's coordinator, and answers with old offsets."""

import asyncio
from collections.abc import Iterable
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError

from libs.runtime.errors import AnswerLostError, OutdatedAnswerError
from libs.runtime.exactly_once import stable_offsets as stable_offsets_module
from libs.runtime.exactly_once.committed_offsets import CommittedOffset, encode_metadata, is_ours
from libs.runtime.exactly_once.group_coordinator import GroupCoordinator
from libs.runtime.exactly_once.left_open import LeftOpenTransactions
from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.transactions import connection as connection_module
from libs.runtime.transactions import producer
from libs.runtime.transactions.connection import TRANSACTION, BrokerConnection
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.unit.exactly_once.fakes import MEMBER, ORDERS
from tests.unit.transactions.requests import Sent, answer_to, sent

FORMER, CURRENT = 1, 2
METADATA = encode_metadata({"TOPIC_PARTITIONS": len(ORDERS)})
LOADING, NOT_COORDINATOR, UNSTABLE = 14, 16, 88
ABORTED_OFFSET = ["InitProducerId", "AddOffsetsToTxn", "MemberOffsetCommit", "EndTxn"]


class Cluster:
    """Two brokers, of which the former coordinator has an offset of 1000, and the current one 2000."""

    def __init__(self, lookups: Iterable[int] = ()) -> None:
        self._lookups = chain(lookups, repeat(CURRENT))
        self.offsets = {FORMER: 1000, CURRENT: 2000}
        self.coordinator = CURRENT
        self.unstable: set[int] = set()
        self.refuses_with = NOT_COORDINATOR
        self.loses: str | None = None
        self.requests: list[tuple[int, Sent]] = []

    @property
    def names(self) -> list[str]:
        return [request.name for _, request in self.requests]

    def connection(self) -> BrokerConnection:
        return BrokerConnection(cast(AIOKafkaClient, self))

    async def coordinator_lookup(self, kind: int, _: str) -> int:
        return CURRENT if kind == TRANSACTION else next(self._lookups)

    async def force_metadata_update(self) -> None:
        pass

    async def send(self, node: int, request: Any, *, group: int) -> Any:
        of = sent(request)
        self.requests.append((node, of))
        if of.name == self.loses:
            raise AnswerLostError("no answer")
        if of.name == "StableOffsetFetch":
            code = UNSTABLE if node in self.unstable else 0
            fetched: list[Any] = [
                (each.topic, [(each.partition, self.offsets[node], -1, METADATA, code, {})], {})
                for each in of.partitions()
            ]
            return SimpleNamespace(error_code=0, topics=fetched)
        if of.name == "MemberOffsetCommit" and node != self.coordinator:
            return answer_to(of, self.refuses_with)
        return answer_to(of)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_PAUSE_S", 0.0)
    monkeypatch.setattr(stable_offsets_module, "_PAUSE_S", 0.0)


def ids() -> StageTransactionalIds:
    return StageTransactionalIds("", "processor")


class LeftOpen(LeftOpenTransactions):
    """Nothing is left open at first."""

    def __init__(self) -> None:
        super().__init__(ids(), MEMBER, [])

    @property
    def ids(self) -> list[str]:
        return self._left_open


def group_coordinator() -> GroupCoordinator:
    return GroupCoordinator(MEMBER, ids(), ORDERS[0])


async def test_the_broker_that_accepts_an_offset_is_the_coordinator() -> None:
    brokers, left_open = Cluster([FORMER]), LeftOpen()
    assert await group_coordinator().find(brokers.connection(), left_open) == CURRENT
    offers = [(node, request) for node, request in brokers.requests if request.name == "MemberOffsetCommit"]
    assert [node for node, _ in offers] == [FORMER, CURRENT]
    assert brokers.names[-1] == "EndTxn"
    assert brokers.requests[-1][1].fields["transaction_result"] is False
    assert left_open.ids == []


async def test_a_broker_that_seems_to_be_loading_for_long_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So answers a former coordinator that cannot ask the transaction's coordinator about the offset."""
    monkeypatch.setattr(producer, "_LOOK_UP_AFTER_S", 0.0)
    brokers = Cluster([FORMER])
    brokers.refuses_with = LOADING
    async with asyncio.timeout(30):
        assert await group_coordinator().find(brokers.connection(), LeftOpen()) == CURRENT


async def test_the_offset_would_be_refused_if_it_were_committed() -> None:
    await group_coordinator().find((brokers := Cluster()).connection(), LeftOpen())
    [offer] = [request for _, request in brokers.requests if request.name == "MemberOffsetCommit"]
    [(_, [(_, offset, _, metadata, _)], _)] = offer.fields["topics"]
    assert not is_ours(CommittedOffset(offset, metadata))


async def test_a_coordinator_that_is_known_gets_no_further_offset() -> None:
    coordinator, brokers = group_coordinator(), Cluster()
    for expected in (ABORTED_OFFSET, []):
        brokers.requests.clear()
        assert await coordinator.find(brokers.connection(), LeftOpen()) == CURRENT
        assert brokers.names == expected


async def test_another_broker_than_the_known_one_has_to_accept_an_offset() -> None:
    coordinator = group_coordinator()
    coordinator.accepted(FORMER)
    coordinator.accepted(None)  # an attempt without a commit
    assert await coordinator.find(Cluster([FORMER]).connection(), LeftOpen()) == FORMER
    brokers = Cluster()
    assert await coordinator.find(brokers.connection(), LeftOpen()) == CURRENT
    assert brokers.names == ABORTED_OFFSET


@pytest.mark.parametrize("loses", ["MemberOffsetCommit", "EndTxn"])
async def test_an_offset_without_an_answer_is_ended_by_the_next_attempt(loses: str) -> None:
    brokers, left_open = Cluster(), LeftOpen()
    brokers.loses = loses
    coordinator = group_coordinator()
    with pytest.raises(AnswerLostError):
        await coordinator.find(brokers.connection(), left_open)
    assert left_open.ids == ["processor-7-member-0"]
    assert brokers.names[-1] == "EndTxn"
    brokers.loses = None
    await coordinator.find(brokers.connection(), left_open)
    assert left_open.ids == ["processor-7-member-0"]  # the worker's to end


async def test_offsets_of_another_broker_do_not_count() -> None:
    connection = Cluster([FORMER]).connection()
    with pytest.raises(OutdatedAnswerError, match="coordinator was broker 2, and broker 1 answered") as found:
        await stable_offsets(connection, MEMBER.group, ORDERS[:1], CURRENT)
    assert is_outage(found.value)  # the next attempt reads them again


async def test_a_coordinator_that_does_not_get_the_marker_of_a_pending_offset_is_looked_up_again() -> None:
    brokers = Cluster([FORMER])
    brokers.unstable = {FORMER}
    found = await stable_offsets(brokers.connection(), MEMBER.group, ORDERS[:1])
    assert [each and each.offset for each in found.values()] == [2000]


class Leaving(Cluster):
    """The former coordinator has a pending offset, and is away when it is asked for that again."""

    async def send(self, node: int, request: Any, *, group: int) -> Any:
        if node == CURRENT:
            return await super().send(node, request, group=group)
        if self.requests:
            raise NodeNotReadyError("away")
        self.requests.append((node, sent(request)))
        return answer_to(sent(request), codes={ORDERS[1]: UNSTABLE}, offsets={ORDERS[0]: 1000})


async def test_offsets_of_two_coordinators_are_not_mixed() -> None:
    found = await stable_offsets(Leaving([FORMER]).connection(), MEMBER.group, ORDERS[:2])
    assert [each and each.offset for each in found.values()] == [2000, 2000]
