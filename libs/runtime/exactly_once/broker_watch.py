"""Monitors the brokers in the background: whether they respond, the topics exist, and the ends of the source partitions."""

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
from libs.runtime.exactly_once.former_leaders import FormerLeaders
from libs.runtime.service.health import Health
from libs.runtime.timing import HEALTHY_FOR_S

_PING_EVERY_S = 5.0
_CHECK_AGAIN_AFTER_S = 0.5
_ENDS_KNOWN_FOR_S = 3 * _PING_EVERY_S
_ONE_BROKER_ANSWERS_WITHIN_S = 5.0  # its answer may have to wait for the end of a long poll

# A controller that has just started may not know any topic for a while. If all topics are missing, this is the more likely cause, so their
# deletion is reported after more checks than that of a single topic.
_CHECKS_UNTIL_CONFIRMED = 5
_CHECKS_WITHOUT_TOPICS_UNTIL_CONFIRMED = 120


class BrokerWatch:
    """Periodically requests the topics' metadata, and the end offsets of the source topic's partitions.

    If one of the ``needed`` topics is deleted, aiokafka waits for ever: a producer's transaction does not end, a consumer
    gets neither records nor an error. If partitions are added, the new ones are not read, while keys move to other partitions.

    Args:
        consumer: its connections are used.
        source: all partitions of the source topic.
        health: gets a beat named ``connected`` for each response.
        needed: topics that have to exist, each with as many partitions as ``source``.
        clock: the time base of ``quiet_since_s``.
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
        self._checks_with_a_change = 0
        self.ends: Mapping[TopicPartition, int] = {}
        """Each source partition's last stable offset, a few seconds ago."""
        self.quiet_since_s: float | None = None
        """Since when these ends have stood still, in epoch seconds, as far as this process has seen; None while it does not see them."""
        self._ends_seen_s = time.monotonic()
        self.former_leaders = FormerLeaders(consumer, source)
        self.source_started = False
        self.answering = False
        self.reads_ends = False
        """Whether the last reading of these ends succeeded. It fails while one of the partitions has no leader that can be reached."""
        self._answered_s = time.monotonic()

    def silent_for_s(self) -> float:
        """Seconds since a broker last responded."""
        return 0.0 if self.answering else time.monotonic() - self._answered_s

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            TopicMissingError: a needed topic has been deleted.
            TopicMismatchError: the number of partitions of a needed topic has changed.
        """
        next_ping_s = 0.0
        while True:
            newest_fetch_ms = self._newest_fetch_ms()
            try:
                async with asyncio.timeout(HEALTHY_FOR_S / 2):
                    if time.monotonic() >= next_ping_s:
                        self._note(await self._partition_counts())
                        self._health.beat("connected")
                        self.answering, self._answered_s = True, time.monotonic()
                        next_ping_s = 0.0 if self._checks_with_a_change else time.monotonic() + _PING_EVERY_S
                        await self.former_leaders.check(_controller_first(self._consumer._client.cluster))  # noqa: SLF001 - as below
                    if not self._checks_with_a_change:  # it takes long for a missing topic
                        ends = await self._consumer.end_offsets(self._source)
                        if ends != self.ends or self.quiet_since_s is None:
                            self.quiet_since_s = self._clock.now_s()
                        self.ends, self._ends_seen_s = ends, time.monotonic()
                        self.reads_ends = True
                        self.source_started = self.source_started or any(self.ends.values())
            except (KafkaError, OSError, TimeoutError):
                self.reads_ends = False
                # A quota or a slow connection may delay our request behind the fetches.
                self.answering = self._newest_fetch_ms() != newest_fetch_ms
                if self.answering:
                    self._health.beat("connected")
                    self._answered_s = time.monotonic()
                # The leader of another replica's partitions may be out of reach for this one only.
                if time.monotonic() - self._ends_seen_s > _ENDS_KNOWN_FOR_S:
                    self.quiet_since_s = None
            check_again = not self.source_started or self._checks_with_a_change
            await asyncio.sleep(_CHECK_AGAIN_AFTER_S if check_again else _PING_EVERY_S)

    def _newest_fetch_ms(self) -> int:
        partitions = self._consumer.assignment()
        return max((self._consumer.last_poll_timestamp(each) or 0 for each in partitions), default=0)

    def _note(self, counts: Mapping[str, int]) -> None:
        if self._as_expected(counts):
            self._checks_with_a_change = 0
            return
        self._checks_with_a_change += 1
        if self._checks_with_a_change < (_CHECKS_UNTIL_CONFIRMED if counts else _CHECKS_WITHOUT_TOPICS_UNTIL_CONFIRMED):
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
            f" the pipeline's source topic has by now, and {START_OVER}",
        )

    def _as_expected(self, counts: Mapping[str, int]) -> bool:
        return all(counts.get(topic) == len(self._source) for topic in self._needed)

    async def _partition_counts(self) -> Mapping[str, int]:
        """The number of partitions of each needed topic that exists.

        A broker's metadata may be outdated. One broker that reports no change is enough; a change is reported only if no
        broker contradicts it and the controller confirms it. (With KRaft, brokers name any live broker as controller.)
        Partitions are only ever added, so the larger of two numbers is the newer one.

        ``consumer.topics()`` is not used: it requests all topics of the cluster, and decoding them blocks the event loop, for
        40 ms with 2,400 partitions.

        Raises:
            KafkaError: no broker responds, or the controller does not, which has to confirm a change.
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
