"""Sends records to ``orders``: each once, in order, with patience and within a bound."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.producer.message_accumulator import BatchBuilder

from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import AIOKafkaProducer, Kafka, client_arguments
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.metrics import GeneratorMetrics

_RETRY_S = 0.5


class UnsentError(PipelineError):
    """Records were left that the broker has not confirmed."""


def idempotent_producer(kafka: Kafka) -> AIOKafkaProducer:
    """A producer that writes every record once and never gives one up for having waited too long."""
    producer = AIOKafkaProducer(
        **client_arguments(kafka),
        enable_idempotence=True,
        acks="all",
        max_batch_size=256 * 1024,
    )
    # aiokafka never expires an idempotent batch, except one whose partition has no leader after request_timeout_ms
    # (MessageAccumulator.drain_by_nodes), which is what a broker that has just come back reports.
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - there is no setting for it
    return producer


@dataclass
class _Batch:
    builder: BatchBuilder
    first: tuple[int, bytes]
    last: tuple[int, bytes]
    oldest_ms: float
    count: int = 0


@dataclass
class _PartitionQueue:
    """One partition's unconfirmed batches, oldest first."""

    partition: int
    batches: deque[_Batch] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class OrderSender:
    """Takes records into a bounded buffer and delivers them, one batch a partition at a time.

    While a batch is on its way the next one fills: a batch is a single record when little comes in, and 256 KiB when
    much does. A failed delivery is final: aiokafka has burnt its sequence number, so nothing more can be sent through
    that producer without a gap.

    Args:
        producer: started, idempotent; the sender does not stop it.
        topic: the full name, with ``partitions`` partitions.
        capacity: most unconfirmed records.
        on_confirmed: called whenever the broker has confirmed a batch.
        metrics: counts what is confirmed, and what is not.
        monotonic: seconds of a clock that never steps.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        topic: str,
        partitions: int,
        capacity: int,
        on_confirmed: Callable[[], None],
        metrics: GeneratorMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._capacity = capacity
        self._on_confirmed = on_confirmed
        self._metrics = metrics
        self._monotonic = monotonic
        self._queues = [_PartitionQueue(partition) for partition in range(partitions)]
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._taken = 0
        self._waiting_since_s = 0.0
        self.confirmed = 0
        """How many records the broker has confirmed."""

    async def __aenter__(self) -> Self:
        for queue in self._queues:
            task = asyncio.create_task(self._deliver(queue), name=f"deliver {self._topic}-{queue.partition}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def unconfirmed(self) -> int:
        """How many records are in the buffer or on their way."""
        return self._taken - self.confirmed

    @property
    def room(self) -> int:
        """How many more records the buffer takes."""
        return self._capacity - self.unconfirmed

    def silent_for_s(self) -> float:
        """How long the broker has owed a confirmation; 0 when nothing is unconfirmed."""
        return self._monotonic() - self._waiting_since_s if self.unconfirmed else 0.0

    def put(self, key: bytes, value: bytes | None, event_time_ms: float) -> int:
        """Take one record, and return the partition that it goes to; the caller has seen that there is room.

        Event time (epoch milliseconds) does not fall from record to record.
        """
        # The producer's clock, not event time: retention goes by it, and a backfill is not to be deleted on arrival.
        now_ms = int(time.time() * 1000)
        if not self.unconfirmed:
            self._waiting_since_s = self._monotonic()
        self._taken += 1
        mark = (self._taken, key)
        queue = self._queues[partition_for(key, len(self._queues))]
        batch = queue.batches[-1] if queue.batches else None
        if batch is None or batch.builder.append(timestamp=now_ms, key=key, value=value) is None:
            batch = _Batch(self._producer.create_batch(), first=mark, last=mark, oldest_ms=event_time_ms)
            batch.builder.append(timestamp=now_ms, key=key, value=value)
            queue.batches.append(batch)
            queue.filled.set()
        batch.last = mark
        batch.count += 1
        return queue.partition

    async def wait_for_change(self, timeout_s: float) -> None:
        """Wait until something was confirmed or has failed, at most ``timeout_s``."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    def raise_failure(self) -> None:
        """Raise what has ended a delivery, if anything has.

        Raises:
            UnsentError: the broker refused a record.
        """
        if isinstance(self._failure, KafkaError):
            raise self.unsent_error(
                f"the broker refused orders: {self._failure!r}", advice=self._advice(self._failure)
            ) from self._failure
        if self._failure is not None:
            raise self._failure

    def unsent_error(self, what: str, *, advice: str) -> UnsentError:
        """An error that names the unconfirmed records."""
        batches = [batch for queue in self._queues for batch in queue.batches]
        first = min(batch.first for batch in batches)[1].decode()
        last = max(batch.last for batch in batches)[1].decode()
        return UnsentError(
            f"{what}; {self.unconfirmed} orders were not confirmed, first order_id {first}, last {last}", advice=advice
        )

    def _advice(self, error: KafkaError) -> str:
        if isinstance(error, TopicAuthorizationFailedError):
            return f"allow this client to write to topic {self._topic!r}, then start the generator again"
        return "look at the broker's log, then start the generator again"

    async def _deliver(self, queue: _PartitionQueue) -> None:
        while True:
            await queue.filled.wait()
            batch = queue.batches[0]
            batch.builder.close()
            await (await self._hand_over(batch, queue.partition))
            queue.batches.popleft()
            if not queue.batches:
                queue.filled.clear()
            self.confirmed += batch.count
            self._metrics.sent.inc(batch.count)
            self._metrics.latency.observe(max(time.time() - batch.oldest_ms / 1000, 0.0))
            self._waiting_since_s = self._monotonic()
            self._on_confirmed()
            self._changed.set()

    async def _hand_over(self, batch: _Batch, partition: int) -> asyncio.Future[Any]:
        while True:
            try:
                delivery: asyncio.Future[Any] = await self._producer.send_batch(
                    batch.builder, self._topic, partition=partition
                )
            except KafkaError as error:
                # Only before the producer has taken the batch: its metadata does not know the topic (any more).
                if not (error.retriable or is_outage(error)):
                    raise
                self._metrics.delivery_errors["retried"].inc()
                await asyncio.sleep(_RETRY_S)
            else:
                return delivery

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            if isinstance(failure, KafkaError):
                self._metrics.delivery_errors["refused"].inc()
            self._failure = self._failure or failure
            self._changed.set()
