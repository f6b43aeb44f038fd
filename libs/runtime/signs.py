"""Signs of life from the broker that concern the whole service, gathered in the background."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from libs.runtime.health import Health
from libs.runtime.timing import HEALTHY_FOR_S

_PING_EVERY_S = 5.0
_LOOK_FOR_FIRST_RECORD_EVERY_S = 0.5


class BrokerSigns:
    """Asks the broker for its metadata now and then, and whether the source topic has ever had a record."""

    def __init__(self, consumer: AIOKafkaConsumer, source: list[TopicPartition], health: Health) -> None:
        self._consumer = consumer
        self._source = source
        self._health = health
        self.source_started = False
        self.answering = False

    async def watch(self) -> None:
        """Run until cancelled."""
        next_ping_s = 0.0
        while True:
            try:
                async with asyncio.timeout(HEALTHY_FOR_S / 2):
                    if not self.source_started:
                        ends = await self._consumer.end_offsets(self._source)
                        self.source_started = any(ends.values())
                    if time.monotonic() >= next_ping_s:
                        await self._consumer.topics()
                        next_ping_s = time.monotonic() + _PING_EVERY_S
                        self._health.beat("connected")
                        self.answering = True
            except (KafkaError, OSError, TimeoutError):
                self.answering = False
            await asyncio.sleep(_PING_EVERY_S if self.source_started else _LOOK_FOR_FIRST_RECORD_EVERY_S)
