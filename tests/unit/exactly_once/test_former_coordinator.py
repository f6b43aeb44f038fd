"""A broker that does not know that it is no longer the group's coordinator, and answers with old offsets."""

from collections.abc import Iterable
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError, NotCoordinatorForGroupError

from libs.runtime.errors import OutdatedAnswerError
from libs.runtime.exactly_once.committed_offsets import encode_metadata
from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.exactly_once.start_offset import StartOffset
from libs.runtime.exactly_once.take_over import TakeOver
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.transactions import connection as connection_module
from libs.runtime.transactions.connection import TRANSACTION, BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from tests.unit.exactly_once.fakes import MEMBER, ORDERS, FakeConsumer, make_stage
from tests.unit.transactions.requests import Sent, answer_to, sent

FORMER, CURRENT = 1, 2
METADATA = encode_metadata({"TOPIC_PARTITIONS": len(ORDERS)})
NOT_COORDINATOR, UNSTABLE = 16, 88


class Cluster:
    """Two brokers, of which the former coordinator has an offset of 1000, and the current one 2000."""

    def __init__(self, lookups: Iterable[int]) -> None:
        self._lookups = chain(lookups, repeat(CURRENT))
        self.offsets = {FORMER: 1000, CURRENT: 2000}
        self.accepts = {CURRENT}
        self.refused: dict[str, int | BaseException] = {}
        self.requests: list[tuple[int, Sent]] = []

    @property
    def names(self) -> list[str]:
        return [request.name for _, request in self.requests]

    async def coordinator_lookup(self, kind: int, _: str) -> int:
        return CURRENT if kind == TRANSACTION else next(self._lookups)

    async def force_metadata_update(self) -> None:
        pass

    async def send(self, node: int, request: Any, *, group: int) -> Any:
        of = sent(request)
        self.requests.append((node, of))
        if of.name == "StableOffsetFetch":
            if not of.fields["require_stable"] and (refused := self.refused.get(of.name)):
                if isinstance(refused, BaseException):
                    raise refused
                return answer_to(of, refused)
            fetched: list[Any] = [
                (each.topic, [(each.partition, self.offsets[node], -1, METADATA, 0, {})], {})
                for each in of.partitions()
            ]
            return SimpleNamespace(error_code=0, topics=fetched)
        if of.name == "MemberOffsetCommit" and node not in self.accepts:
            return answer_to(of, NOT_COORDINATOR)
        return answer_to(of)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_PAUSE_S", 0.0)


async def take_over(cluster: Cluster) -> tuple[TransactionalProducer, int]:
    """A producer before its first commit, and the offset at which it begins."""
    connection = BrokerConnection(cast(AIOKafkaClient, cluster))
    producer = TransactionalProducer(connection, "id")
    await producer.start()
    settings = ServiceSettings(topic_partitions=len(ORDERS))
    consumer: Any = FakeConsumer()
    taking = TakeOver(
        make_stage(lambda *_: SimpleNamespace(state_size=0)), settings, consumer, MEMBER.group, lambda _: None
    )
    taken = await taking.read(connection, {ORDERS[0]: StartOffset()})
    producer.before_first_commit = taken.check_offsets
    return producer, taken.partitions[0].position


async def commit(producer: TransactionalProducer, offset: int) -> None:
    await producer.commit(OutputBuffer({"out": 1}), {ORDERS[0]: offset}, MEMBER)


async def test_offsets_of_a_former_coordinator_are_not_committed_on() -> None:
    brokers = Cluster([FORMER])
    producer, position = await take_over(brokers)
    assert position == 1000
    with pytest.raises(OutdatedAnswerError) as found:
        await commit(producer, 1010)
    assert is_outage(found.value)  # the next attempt reads them again
    assert "EndTxn" not in brokers.names
    await producer.abort()
    assert brokers.names[-1] == "EndTxn"


async def test_a_former_coordinator_may_become_the_coordinator_again() -> None:
    brokers = Cluster([FORMER, FORMER])
    producer, _ = await take_over(brokers)
    brokers.accepts, brokers.offsets = {FORMER}, {FORMER: 2000}
    with pytest.raises(OutdatedAnswerError, match=r"offset=2000.* not .*offset=1000"):
        await commit(producer, 1010)
    assert "EndTxn" not in brokers.names


async def test_another_coordinator_begins_another_attempt_even_with_the_same_offsets() -> None:
    """Its predecessor may not have known of a pending offset, whose marker is still to come."""
    brokers = Cluster([FORMER])
    brokers.offsets = dict.fromkeys(brokers.offsets, 1000)
    producer, _ = await take_over(brokers)
    with pytest.raises(OutdatedAnswerError, match="coordinator was broker 1, and is broker 2"):
        await commit(producer, 1010)


@pytest.mark.parametrize("refused", [NOT_COORDINATOR, NodeNotReadyError("away")])
async def test_offsets_that_cannot_be_checked_are_not_committed(refused: int | BaseException) -> None:
    brokers = Cluster([CURRENT])
    producer, _ = await take_over(brokers)
    brokers.refused["StableOffsetFetch"] = refused
    with pytest.raises((NotCoordinatorForGroupError, NodeNotReadyError)) as found:
        await commit(producer, 2010)
    assert is_outage(found.value)
    assert "EndTxn" not in brokers.names


async def test_the_offsets_are_checked_before_the_first_commit_only() -> None:
    brokers = Cluster([CURRENT])
    producer, position = await take_over(brokers)
    assert position == 2000
    brokers.requests.clear()
    await commit(producer, 2010)
    assert brokers.names == ["AddOffsetsToTxn", "MemberOffsetCommit", "StableOffsetFetch", "EndTxn"]
    brokers.requests.clear()
    await commit(producer, 2020)
    assert "StableOffsetFetch" not in brokers.names


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
    connection = BrokerConnection(cast(AIOKafkaClient, Leaving([FORMER])))
    found = await stable_offsets(connection, MEMBER.group, ORDERS[:2])
    assert [each and each.offset for each in found.values()] == [2000, 2000]
