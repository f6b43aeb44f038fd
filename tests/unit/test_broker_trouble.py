"""What the runtime does about a broker that hangs, or that has lost something."""

import asyncio
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaTimeoutError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5
from aiokafka.structs import TopicPartition

from libs.runtime import changelog, signs, transaction
from libs.runtime.changelog import read_changelog
from libs.runtime.errors import TopicMissingError, TransactionTimeoutError
from libs.runtime.health import Health
from libs.runtime.member_offsets import GroupMember
from libs.runtime.settings import ServiceSettings
from libs.runtime.signs import BrokerSigns
from libs.runtime.transaction import TransactionalProducer

STATE = TopicPartition("state", 0)


NO_ERROR, UNKNOWN_TOPIC = 0, 3


class ForgetfulBroker:
    """Answers for the topics it is asked for: only ``known`` for so many looks, then all."""

    def __init__(self, known: Collection[str], looks: int) -> None:
        self._known = set(known)
        self._looks = looks
        self.remembered = asyncio.Event()
        self.out_of_reach: set[int] = set()
        brokers = [SimpleNamespace(nodeId=node) for node in (1, 2)]
        self._client = SimpleNamespace(send=self._send, cluster=SimpleNamespace(brokers=lambda: brokers))

    async def _send(self, node: int, request: MetadataRequest) -> SimpleNamespace:
        await asyncio.sleep(0)
        if node in self.out_of_reach:
            raise NodeNotReadyError
        asked: Any = request.build(MetadataRequest_v5)
        assert not asked.allow_auto_topic_creation
        if self._looks:
            self._looks -= 1
        else:
            self._known = {"orders", "others"}
            self.remembered.set()
        errors = {topic: NO_ERROR if topic in self._known else UNKNOWN_TOPIC for topic in asked.topics}
        return SimpleNamespace(topics=[(error, topic, False, []) for topic, error in errors.items()])

    async def end_offsets(self, _: object) -> Mapping[TopicPartition, int]:
        return {TopicPartition("orders", 0): 1}


def watch(broker: ForgetfulBroker, monkeypatch: pytest.MonkeyPatch) -> asyncio.Task[None]:
    monkeypatch.setattr(signs, "_LOOK_AGAIN_AFTER_S", 0.0)
    watching = BrokerSigns(cast(AIOKafkaConsumer, broker), [], Health(), ["orders", "others"])
    return asyncio.create_task(watching.watch())


# A broker that has just started knows no topic at all.
LOOKS = [(["others"], signs._LOOKS_UNTIL_MISSING), ([], signs._LOOKS_AT_NOTHING_UNTIL_MISSING)]


@pytest.mark.parametrize(("known", "looks"), LOOKS)
async def test_a_deleted_topic_ends_the_service(known: list[str], looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TopicMissingError, match="orders"):
        await watch(ForgetfulBroker(known, looks), monkeypatch)


@pytest.mark.parametrize(("known", "looks"), LOOKS)
async def test_a_broker_that_does_not_know_all_topics_yet_is_given_time(
    known: list[str], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = ForgetfulBroker(known, looks - 1)
    watching = watch(broker, monkeypatch)
    await broker.remembered.wait()
    await asyncio.sleep(0)
    assert not watching.done()
    watching.cancel()


async def test_any_broker_may_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = ForgetfulBroker([], looks=0)
    broker.out_of_reach = {1}
    watching = watch(broker, monkeypatch)
    async with asyncio.timeout(1):
        await broker.remembered.wait()
    watching.cancel()


async def test_a_producer_does_not_wait_for_ever_for_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "COMMIT_TIMEOUT_S", 0.1)
    clients: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, client: clients.append(client), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    producer = TransactionalProducer(
        ServiceSettings(kafka_bootstrap_servers=f"127.0.0.1:{port}"), "id", GroupMember("group", 1, "member"), {}
    )
    with pytest.raises(TransactionTimeoutError):
        await producer.start()
    await producer.close()
    for client in clients:
        client.close()
    server.close()
    await server.wait_closed()


class SilentConsumer:
    """Says that there is something to read, and never brings it."""

    def __init__(self) -> None:
        self._coordinator = None
        self._client: Any = SimpleNamespace(close=self.start)

    async def start(self) -> None:
        pass

    stop = start

    def assign(self, _: object) -> None:
        pass

    async def seek_to_beginning(self, _: object) -> None:
        pass

    async def end_offsets(self, _: object) -> Mapping[TopicPartition, int]:
        return {STATE: 5}

    async def position(self, _: object) -> int:
        return 0

    async def getmany(self, *_: object, timeout_ms: int) -> Mapping[TopicPartition, list[Any]]:
        await asyncio.sleep(timeout_ms / 1_000_000)
        return {}


async def test_restoring_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "committed_consumer", lambda *_, **__: SilentConsumer())
    monkeypatch.setattr(changelog, "HEALTHY_FOR_S", 0.01)
    with pytest.raises(KafkaTimeoutError):
        _ = [records async for records in read_changelog(ServiceSettings(), STATE)]
