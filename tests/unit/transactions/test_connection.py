"""Each request is sent at most once, even if the client fails; brokers are looked up as often as needed."""

import asyncio
from collections import deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import (
    BrokerResponseError,
    CoordinatorNotAvailableError,
    CorrelationIdError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    NodeNotReadyError,
    RequestTimedOutError,
)
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.structs import TopicPartition

from libs.runtime.errors import AnswerLostError
from libs.runtime.transactions import connection as connection_module
from libs.runtime.transactions.connection import TRANSACTION, BrokerConnection

REQUEST = EndTxnRequest("id", 1, 2, True)
OUT = TopicPartition("out", 0)


class FakeClient:
    """Scripted responses, lookups and leaders; without a script, broker 1 is responsible and responds."""

    def __init__(
        self,
        answers: Iterable[object] = (),
        coordinators: Iterable[int | BaseException] = (),
        leaders: Iterable[int | None] = (),
    ) -> None:
        self.sent: list[tuple[int, int]] = []
        self.lookups: list[tuple[int, str]] = []
        self.updates = 0
        self._answers, self._coordinators = deque(answers), deque(coordinators)
        self._leaders = deque(leaders)
        brokers = [SimpleNamespace(nodeId=node) for node in (1, 2)]
        self.cluster = SimpleNamespace(brokers=lambda: brokers, leader_for_partition=self._leader)

    async def send(self, node: int, request: object, *, group: int) -> object:
        assert request is REQUEST
        self.sent.append((node, group))
        return self._next(self._answers, "answer")

    async def coordinator_lookup(self, kind: int, key: str) -> Any:
        self.lookups.append((kind, key))
        return self._next(self._coordinators, 1)

    def _leader(self, partition: TopicPartition) -> Any:
        assert partition == OUT
        return self._next(self._leaders, 1)

    @staticmethod
    def _next(script: deque[Any], default: object) -> object:
        scripted = script.popleft() if script else default
        if isinstance(scripted, BaseException):
            raise scripted
        return scripted

    async def force_metadata_update(self) -> None:
        self.updates += 1


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_PAUSE_S", 0.0)


def connection_of(client: FakeClient) -> BrokerConnection:
    return BrokerConnection(cast(AIOKafkaClient, client))


async def ask(connection: BrokerConnection) -> object:
    async with asyncio.timeout(30):
        return await connection.ask_coordinator(TRANSACTION, "id", REQUEST)


async def test_a_coordinator_is_looked_up_once() -> None:
    client = FakeClient()
    connection = connection_of(client)
    assert [await ask(connection) for _ in range(2)] == ["answer"] * 2
    assert client.lookups == [(TRANSACTION, "id")]
    assert client.sent == [(1, ConnectionGroup.COORDINATION)] * 2


@pytest.mark.parametrize(
    "error", [KafkaConnectionError("closed"), RequestTimedOutError(), CorrelationIdError("17, not 16")]
)
async def test_a_request_with_a_lost_response_is_not_resent(error: Exception) -> None:
    client = FakeClient(answers=[error])
    with pytest.raises(AnswerLostError, match="EndTxnRequest"):
        await ask(connection_of(client))
    assert len(client.sent) == 1
    client = FakeClient(answers=[error])
    with pytest.raises(AnswerLostError):
        await connection_of(client).send(2, REQUEST)
    assert client.sent == [(2, ConnectionGroup.DEFAULT)]


async def test_an_unsent_request_is_sent_to_the_current_coordinator() -> None:
    client = FakeClient(answers=[NodeNotReadyError("away")], coordinators=[1, 2])
    assert await ask(connection_of(client)) == "answer"
    assert [node for node, _ in client.sent] == [1, 2]
    assert client.updates == 1


async def test_a_failed_connection_to_a_given_broker_is_raised_to_the_caller() -> None:
    client = FakeClient(answers=[NodeNotReadyError("away")])
    with pytest.raises(NodeNotReadyError):
        await connection_of(client).send(1, REQUEST)


async def test_an_unsupported_api_version_is_not_treated_as_a_lost_response() -> None:
    with pytest.raises(IncompatibleBrokerVersion):
        await ask(connection_of(FakeClient(answers=[IncompatibleBrokerVersion("EndTxn")])))


@pytest.mark.parametrize(
    "error",
    [
        CoordinatorNotAvailableError(),
        NodeNotReadyError("away"),
        KafkaConnectionError("closed"),
        RequestTimedOutError(),
        AssertionError("Did we not perform bootstrap?"),
    ],
)
async def test_a_coordinator_is_looked_up_until_there_is_one(error: BaseException) -> None:
    client = FakeClient(coordinators=[error, error, 2])
    assert await ask(connection_of(client)) == "answer"
    assert [node for node, _ in client.sent] == [2]
    assert client.updates == 2


async def test_a_rejected_coordinator_lookup_is_an_error() -> None:
    error: BrokerResponseError = GroupAuthorizationFailedError("no")
    with pytest.raises(GroupAuthorizationFailedError):
        await ask(connection_of(FakeClient(coordinators=[error])))


async def test_coordinators_are_looked_up_again_after_a_refresh() -> None:
    client = FakeClient(coordinators=[1, 2])
    connection = connection_of(client)
    await ask(connection)
    await connection.refresh()
    await ask(connection)
    assert [node for node, _ in client.sent] == [1, 2]


async def test_it_waits_for_a_leader() -> None:
    client = FakeClient(leaders=[None, -1, 2])
    async with asyncio.timeout(30):
        assert await connection_of(client).leader(OUT) == 2
    assert client.updates == 2


def test_brokers_are_taken_from_the_cluster_metadata() -> None:
    assert connection_of(FakeClient()).brokers() == [1, 2]
