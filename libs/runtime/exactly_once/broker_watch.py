"""Watches the brokers in the background: whether they answer, have all topics, and where the source partitions end."""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from libs.runtime.clock import Clock
from libs.runtime.errors import START_OVER, TopicMismatchError, TopicMissingError
from libs.runtime.service.health import Health
from libs.runtime.timing import HEALTHY_FOR_S

_PING_EVERY_S = 5.0
_LOOK_AGAIN_AFTER_S = 0.5
_ONE_BROKER_ANSWERS_WITHIN_S = 4.0

# A controller that has just started may know no topics for a while. That all have been deleted at once is less likely, and
# is found out all the same.
_LOOKS_UNTIL_BELIEVED = 5
_LOOKS_AT_NOTHING_UNTIL_BELIEVED = 120


class BrokerWatch:
    """Asks the brokers now and then for the topics, and for the ends of the source topic's partitions.

    Without one of the ``needed`` topics aiokafka waits for ever: a producer's transaction is not ended, a consumer hears
    nothing and is told of no error. And a topic that grows is not read where it is new, while keys move to other partitions.

    Args:
        consumer: whose connections are used.
        source: all partitions of the source topic.
        health: is told ``connected``.
        needed: topics that have to be there, each with as many partitions as ``source``.
        clock: tells ``quiet_since_s``.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        source: list[TopicPartition],
        health: Health,
        needed: Collection[str],
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._health = health
        self._needed = set(needed)
        self._clock = clock
        self._looks_at_a_change = 0
        self.ends: Mapping[TopicPartition, int] = {}
        """Each source partition's last stable offset, a few seconds ago."""
        self.quiet_since_s: float | None = None
        """Since when these ends have stood still, in epoch seconds, as far as this process has seen; None before that."""
        self.source_started = False
        self.answering = False
        self._answered_s = time.monotonic()

    def silent_for_s(self) -> float:
        """For how long no broker has answered."""
        return 0.0 if self.answering else time.monotonic() - self._answered_s

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            TopicMissingError: a needed topic has been deleted.
            TopicMismatchError: a needed topic has another number of partitions by now.
        """
        next_ping_s = 0.0
        while True:
            try:
                async with asyncio.timeout(HEALTHY_FOR_S / 2):
                    if time.monotonic() >= next_ping_s:
                        self._note(await self._partition_counts())
                        self._health.beat("connected")
                        self.answering, self._answered_s = True, time.monotonic()
                        next_ping_s = 0.0 if self._looks_at_a_change else time.monotonic() + _PING_EVERY_S
                    if not self._looks_at_a_change:  # of a missing topic it asks for long
                        ends = await self._consumer.end_offsets(self._source)
                        if ends != self.ends:
                            self.quiet_since_s = self._clock.now_s()
                        self.ends = ends
                        self.source_started = self.source_started or any(self.ends.values())
            except (KafkaError, OSError, TimeoutError):
                self.answering = False
            look_again = not self.source_started or self._looks_at_a_change
            await asyncio.sleep(_LOOK_AGAIN_AFTER_S if look_again else _PING_EVERY_S)

    def _note(self, counts: Mapping[str, int]) -> None:
        if self._as_expected(counts):
            self._looks_at_a_change = 0
            return
        self._looks_at_a_change += 1
        if self._looks_at_a_change < (_LOOKS_UNTIL_BELIEVED if counts else _LOOKS_AT_NOTHING_UNTIL_BELIEVED):
            return
        if missing := self._needed.difference(counts):
            raise TopicMissingError(
                f"deleted while it was in use: {', '.join(sorted(missing))}",
                advice="start the service again, which creates the topic, empty; the records of other topics are not lost",
            )
        before = len(self._source)
        changed = [f"{topic!r} has {count} partitions" for topic, count in sorted(counts.items()) if count != before]
        raise TopicMismatchError(
            f"{', '.join(changed)} by now and had {before} at the start: records in new partitions would not be read, and"
            " keys would move to other partitions than their open windows",
            advice="nothing is lost; Kafka takes no partitions away: set TOPIC_PARTITIONS to the number of partitions that"
            f" {self._source[0].topic!r} has by now, and {START_OVER}",
        )

    def _as_expected(self, counts: Mapping[str, int]) -> bool:
        return all(counts.get(topic) == len(self._source) for topic in self._needed)

    async def _partition_counts(self) -> Mapping[str, int]:
        """The number of partitions of each needed topic that there is.

        A broker's metadata may be old, so one that says that nothing has changed is enough, but a change is told only if
        no broker contradicts it, and the one that the brokers name as their controller says so, too. (Under KRaft they name
        any that is alive.) Topics are only ever deleted and made larger, so of two numbers the larger one is newer.

        ``consumer.topics()`` asks for all that the cluster has, and their decoding holds up the loop: for 40 ms where they
        have 2,400 partitions.

        Raises:
            KafkaError: no broker can be asked, or not the controller, which alone knows of a change.
        """
        client: Any = self._consumer._client  # noqa: SLF001 - aiokafka asks for named topics in no public way
        request = MetadataRequest(list(self._needed), allow_auto_topic_creation=False)
        counts: dict[str, int] = {}
        controllers: set[int] = set()
        answered: set[int] = set()
        error: KafkaError = NodeNotReadyError("no broker is known")
        for node in _controller_first(client.cluster):
            try:
                async with asyncio.timeout(_ONE_BROKER_ANSWERS_WITHIN_S):
                    response = await client.send(node, request)
            except KafkaError as refused:
                error = refused
                continue
            except TimeoutError:
                error = NodeNotReadyError(f"broker {node} does not answer")
                continue
            answered.add(node)
            controllers.add(response.controller_id)
            for code, topic, _, partitions in response.topics:
                if not code:
                    counts[topic] = max(counts.get(topic, 0), len(partitions))
            if self._as_expected(counts):
                return counts
        if not answered:
            raise error
        if not answered & controllers:
            raise NodeNotReadyError(f"no answer from the controller, {controllers}")
        return counts


def _controller_first(cluster: Any) -> list[Any]:
    """The ids of all known brokers."""
    controller = cluster.controller and cluster.controller.nodeId
    return sorted((broker.nodeId for broker in cluster.brokers()), key=lambda node: node != controller)
