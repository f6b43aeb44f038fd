"""Work with a missing right ends with an error that names it; without a broker's response no right is considered missing."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from libs.runtime.errors import BrokerLoginError, MissingRightError, PipelineError
from libs.runtime.kafka_requests.authorized_operations import UNKNOWN_OPERATIONS, GroupOperations
from libs.runtime.kafka_security.login_rejections import unless_rejected
from libs.runtime.kafka_security.security import KafkaAddress, KafkaSecurity
from libs.runtime.rights import with_rights as with_rights_module
from libs.runtime.rights.right import Operation, Resource, Right, Role
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights, with_rights_from_the_start
from libs.runtime.transactions.connection import BrokerConnection

READ_ORDERS = Right(Operation.READ, Resource.TOPIC, "orders")
CREATE_ORDERS = Right(Operation.CREATE, Resource.TOPIC, "orders", optional="it exists")
MEMBER = Right(Operation.READ, Resource.GROUP, "cook")
TRANSACTIONS = Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, "cook-", prefixed=True)
ROLE = Role("cook", "", (READ_ORDERS, CREATE_ORDERS, MEMBER, TRANSACTIONS))
READ, DESCRIBE = 1 << Operation.READ, 1 << Operation.DESCRIBE
MESSAGE = "this client lacks a right in Kafka: "


class FakeConnection:
    """A cluster's responses about topic `orders`, group `cook` and the transactional ids; the same for every connection."""

    def __init__(self) -> None:
        self.topic: tuple[int, int] = (0, READ | DESCRIBE)
        self.group: tuple[int, int] = (0, READ | DESCRIBE)
        self.coordinators: dict[int, BaseException] = {}
        self.away = False
        self.open = 0

    async def __call__(self, kafka: object, topics: Iterable[str]) -> Any:
        if self.away:
            raise KafkaConnectionError("away")
        self.open += 1
        return self

    def forget_coordinators(self) -> None:
        pass

    async def close(self) -> None:
        self.open -= 1

    async def ask_any(self, request: object) -> Any:
        code, operations = self.topic
        return _Answer(topics=[(code, "x-orders", False, [], operations)])

    async def coordinator(self, kind: int, key: str) -> int:
        if kind in self.coordinators:
            raise self.coordinators[kind]
        return 1

    async def ask_coordinator(self, kind: int, key: str, request: object) -> Any:
        assert isinstance(request, GroupOperations)
        await self.coordinator(kind, key)
        code, operations = self.group
        return _Answer(groups=[(code, key, "", "", "", [], operations)])


class _Answer:
    def __init__(self, **fields: object) -> None:
        vars(self).update(fields)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeConnection:
    fake = FakeConnection()
    monkeypatch.setattr(BrokerConnection, "open", fake)
    monkeypatch.setattr(with_rights_module, "_CHECK_EVERY_S", 0.0)
    return fake


def check() -> RightsCheck:
    return RightsCheck("localhost:1", "x-", ROLE)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def fails(error: Exception) -> None:
    raise error


async def test_work_runs_if_no_right_is_missing(cluster: FakeConnection) -> None:
    asked = check()
    assert await asked.missing() == []
    await asked.close()
    assert cluster.open == 0


@pytest.mark.parametrize(
    ("topic", "missing"),
    [
        ((0, DESCRIBE), [READ_ORDERS]),
        ((TopicAuthorizationFailedError.errno, UNKNOWN_OPERATIONS), [READ_ORDERS]),
        ((0, UNKNOWN_OPERATIONS), []),
        ((3, UNKNOWN_OPERATIONS), []),
    ],
)
async def test_missing_rights_on_topics_are_named(
    cluster: FakeConnection, topic: tuple[int, int], missing: list[Right]
) -> None:
    cluster.topic = topic
    assert await check().missing() == missing


@pytest.mark.parametrize(
    ("group", "missing"),
    [
        ((0, DESCRIBE), [MEMBER]),
        ((GroupAuthorizationFailedError.errno, 0), [MEMBER]),
        ((0, UNKNOWN_OPERATIONS), []),
        ((16, 0), []),
    ],
)
async def test_missing_rights_on_groups_are_named(
    cluster: FakeConnection, group: tuple[int, int], missing: list[Right]
) -> None:
    cluster.group = group
    assert await check().missing() == missing


async def test_missing_rights_to_find_coordinators_are_named(cluster: FakeConnection) -> None:
    cluster.coordinators = {0: GroupAuthorizationFailedError(), 1: TransactionalIdAuthorizationFailed()}
    assert await check().missing() == [MEMBER, TRANSACTIONS]


async def test_a_revoked_right_ends_the_work(cluster: FakeConnection) -> None:
    async def revoke() -> None:
        cluster.topic = (0, DESCRIBE)
        await forever()

    with pytest.raises(MissingRightError, match=MESSAGE + "READ on topic 'x-orders'$") as raised:
        await unless_rejected(with_rights(revoke(), check()))
    assert "python -m acls --role cook --topic-prefix x-" in raised.value.advice
    assert cluster.open == 0


@pytest.mark.parametrize(
    ("security", "flag"),
    [
        (KafkaSecurity(username="x-cook"), "` grants"),
        (KafkaSecurity(username="svc-cook"), " --principal cook=User:svc-cook` grants"),
        (KafkaSecurity(username="the cook's"), """ --principal 'cook=User:the cook'"'"'s'` grants"""),
        (KafkaSecurity("SSL"), " --principal cook=User:NAME` with the principal that the broker sees "),
    ],
)
def test_the_advice_grants_rights_to_this_client(security: KafkaSecurity, flag: str) -> None:
    error = RightsCheck(KafkaAddress("localhost:1", security), "x-", ROLE).error([MEMBER])
    assert f"python -m acls --role cook --topic-prefix x-{flag}" in error.advice


async def test_an_authorization_error_is_explained(cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_rights_module, "_CHECK_EVERY_S", 60.0)

    async def denied() -> None:
        await asyncio.sleep(0)
        cluster.group = (0, DESCRIBE)
        await fails(PipelineError("gave up"))

    with pytest.raises(MissingRightError, match="READ on group 'x-cook'"):
        await unless_rejected(with_rights(denied(), check()))
    assert cluster.open == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TransactionalIdAuthorizationFailed("InitProducerId"), "WRITE on transactional ids that begin with 'x-cook-'"),
        (TopicAuthorizationFailedError("orders"), "Kafka denies what this client asks for"),
        (BrokerLoginError("refused"), "refused"),
        (PipelineError("something else"), "something else"),
    ],
)
async def test_other_errors_are_unchanged_if_no_right_is_missing(
    cluster: FakeConnection, error: Exception, message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        await unless_rejected(with_rights(fails(error), check()))


async def test_an_error_without_a_denial_does_not_wait_for_a_broker_that_hangs(
    cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that is stopped names the orders that it has not sent before it is killed."""
    monkeypatch.setattr(with_rights_module, "_WITHOUT_DENIAL_S", 0.01)
    monkeypatch.setattr(with_rights_module, "_missing_now", lambda _: forever())
    with pytest.raises(PipelineError, match="12 orders were not confirmed"):
        await unless_rejected(with_rights(fails(PipelineError("12 orders were not confirmed")), check()))


async def test_without_a_response_the_work_continues(cluster: FakeConnection) -> None:
    cluster.away = True

    async def work() -> str:
        await asyncio.sleep(0.01)
        return "done"

    assert await unless_rejected(with_rights(work(), check())) == "done"
    assert await unless_rejected(with_rights_from_the_start(work, check())) == "done"


async def test_a_command_does_not_begin_without_a_right(cluster: FakeConnection) -> None:
    cluster.topic = (0, DESCRIBE)
    begun: list[None] = []

    async def work() -> None:
        begun.append(None)

    with pytest.raises(MissingRightError):
        await unless_rejected(with_rights_from_the_start(work, check()))
    assert begun == []
    assert cluster.open == 0
