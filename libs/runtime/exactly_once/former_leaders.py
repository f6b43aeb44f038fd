"""Finds partitions that the consumer reads from a broker that is no longer their leader."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.consumers import leader_of, refresh_metadata
from libs.runtime.kafka_requests.leaders import TopicLeaders, leaders_in

_ASKED_AT_A_TIME = 3
_ANSWERS_WITHIN_S = 5.0  # an answer may have to wait for the end of a long poll
_REFRESHED_WITHIN_S = 2.0


class FormerLeaders:
    """Compares the leaders that the consumer knows with those that the brokers name now.

    A broker that is cut off from its cluster does not know that it was replaced. It goes on confirming the ends of its partitions, while
    records are written to its successors. The consumer asks a random broker for the leaders twice a minute.

    Args:
        source: all partitions of the source topic.
    """

    def __init__(self, consumer: AIOKafkaConsumer, source: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._source = source
        self._checks = 0
        self._newest: dict[int, tuple[int, int]] = {}
        self.partitions: Collection[TopicPartition] = ()
        """The partitions whose leader has changed, as of the last check."""

    async def check(self, nodes: Sequence[int]) -> None:
        """Ask the first of ``nodes``, and others in turns; a broker that does not answer at once is left out."""
        if len(nodes) < 2:
            self.partitions = ()
            return
        first, *others = nodes
        turn = self._checks % len(others)
        self._checks += 1
        leaders = await self._leaders([first, *others[turn:], *others[:turn]][:_ASKED_AT_A_TIME])
        self.partitions = self._differing(leaders)
        if self.partitions:
            try:
                async with asyncio.timeout(_REFRESHED_WITHIN_S):  # it may ask a broker that hangs
                    await refresh_metadata(self._consumer)
            except TimeoutError:
                return
            self.partitions = self._differing(leaders)

    async def _leaders(self, nodes: Sequence[int]) -> dict[int, tuple[int, int]]:
        """The newest epoch and its leader, by partition; what an earlier check has found still counts unless all of ``nodes`` answer."""
        client: Any = self._consumer._client  # noqa: SLF001 - aiokafka asks for named topics in no public way
        request = TopicLeaders(self._source[0].topic)
        asked = [asyncio.ensure_future(client.send(node, request)) for node in nodes]
        try:
            answered, _ = await asyncio.wait(asked, timeout=_ANSWERS_WITHIN_S)
        finally:
            for answer in asked:
                answer.cancel()
        found_by = [
            leaders_in(answer.result()) for answer in answered if not answer.cancelled() and answer.exception() is None
        ]
        views = [view for view in found_by if view]
        leaders = {} if len(views) == len(nodes) else self._newest
        for view in views:
            for number, found in view.items():
                leaders[number] = max(found, leaders.get(number, found))
        self._newest = leaders
        return leaders

    def _differing(self, leaders: dict[int, tuple[int, int]]) -> list[TopicPartition]:
        return [
            source
            for source in self._source
            if source.partition in leaders and leaders[source.partition][1] != leader_of(self._consumer, source)
        ]
