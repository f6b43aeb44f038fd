"""Watches the broker in the background: whether it answers, has all topics, and where the source partitions end."""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from libs.runtime.errors import TopicMissingError
from libs.runtime.health import Health
from libs.runtime.timing import HEALTHY_FOR_S

_PING_EVERY_S = 5.0
_LOOK_AGAIN_AFTER_S = 0.5

# A broker that has just started knows no topics until its controller tells it, which may take a while; that all have been
# deleted at once is less likely, and found out all the same.
_LOOKS_UNTIL_MISSING = 5
_LOOKS_AT_NOTHING_UNTIL_MISSING = 120


class BrokerWatch:
    """Asks the broker now and then for its topics, and for the ends of the source topic's partitions.

    Without one of the ``needed`` topics aiokafka waits for ever: a producer's transaction is not ended, a consumer hears
    nothing and is told of no error.
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, source: list[TopicPartition], health: Health, needed: Collection[str] = ()
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._health = health
        self._needed = set(needed)
        self._looks_without = 0
        self.ends: Mapping[TopicPartition, int] = {}
        """Each source partition's last stable offset, a few seconds ago."""
        self.source_started = False
        self.answering = False

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            TopicMissingError: a needed topic has been deleted.
        """
        next_ping_s = 0.0
        while True:
            try:
                async with asyncio.timeout(HEALTHY_FOR_S / 2):
                    if time.monotonic() >= next_ping_s:
                        self._note(await _known(self._consumer, self._needed))
                        self._health.beat("connected")
                        self.answering = True
                        next_ping_s = 0.0 if self._looks_without else time.monotonic() + _PING_EVERY_S
                    if not self._looks_without:  # of a missing topic it asks for long
                        self.ends = await self._consumer.end_offsets(self._source)
                        self.source_started = self.source_started or any(self.ends.values())
            except (KafkaError, OSError, TimeoutError):
                self.answering = False
            look_again = not self.source_started or self._looks_without
            await asyncio.sleep(_LOOK_AGAIN_AFTER_S if look_again else _PING_EVERY_S)

    def _note(self, known: Collection[str]) -> None:
        missing = self._needed.difference(known)
        self._looks_without = self._looks_without + 1 if missing else 0
        if self._looks_without >= (_LOOKS_UNTIL_MISSING if known else _LOOKS_AT_NOTHING_UNTIL_MISSING):
            raise TopicMissingError(
                f"deleted while it was in use: {', '.join(sorted(missing))}",
                advice="start again to have it made anew, empty; what was not deleted with it is not lost",
            )


async def _known(consumer: AIOKafkaConsumer, topics: Collection[str]) -> set[str]:
    """Those of ``topics`` that a broker knows.

    ``consumer.topics()`` asks for all that the cluster has, and their decoding holds up the loop: for 40 ms where they have
    2,400 partitions.
    """
    client: Any = consumer._client  # noqa: SLF001 - aiokafka asks for named topics in no public way
    request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
    error: KafkaError = NodeNotReadyError("no broker is known")
    for broker in client.cluster.brokers():
        try:
            response = await client.send(broker.nodeId, request)
        except KafkaError as refused:
            error = refused
        else:
            return {topic for code, topic, *_ in response.topics if not code}
    raise error
