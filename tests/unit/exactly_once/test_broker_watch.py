"""What is done about a broker that has lost a topic."""

import asyncio
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5
from aiokafka.structs import TopicPartition

from libs.runtime.errors import TopicMissingError
from libs.runtime.exactly_once import broker_watch
from libs.runtime.exactly_once.broker_watch import BrokerWatch
from libs.runtime.health import Health

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
    monkeypatch.setattr(broker_watch, "_LOOK_AGAIN_AFTER_S", 0.0)
    watching = BrokerWatch(cast(AIOKafkaConsumer, broker), [], Health(), ["orders", "others"])
    return asyncio.create_task(watching.run())


# A broker that has just started knows no topic at all.
LOOKS = [(["others"], broker_watch._LOOKS_UNTIL_MISSING), ([], broker_watch._LOOKS_AT_NOTHING_UNTIL_MISSING)]


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
