"""Sends records to ``orders``: each once, in order, through a bounded buffer that outlasts outages."""

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
from libs.runtime.service.health import Health
from services.generator.generator_metrics import GeneratorMetrics

_RETRY_S = 0.5


class UnsentError(PipelineError):
    """The broker has not confirmed some records."""


def idempotent_producer(kafka: Kafka) -> AIOKafkaProducer:
    """A producer that writes every record once, and never drops one because of a timeout."""
    producer = AIOKafkaProducer(
        **client_arguments(kafka),
        enable_idempotence=True,
        acks="all",
        max_batch_size=256 * 1024,
    )
    # aiokafka expires an idempotent batch only if its partition has no leader after request_timeout_ms
    # (MessageAccumulator.drain_by_nodes). A broker that has just restarted reports that.
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
    """One partition's unconfirmed batches, oldest first; the oldest one has waited since ``waiting_since_s``."""

    partition: int
    name: str
    waiting_since_s: float = 0.0
    batches: deque[_Batch] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class OrderSender:
    """Buffers records, within a bound, and delivers them in batches, one at a time for each partition.

    While a batch is in flight, the next one is filled: at a low rate a batch has a single record, at a high rate up to 256
    KiB. A failed delivery is final: aiokafka has used its sequence number, so the producer cannot send more without a gap.

    Args:
        producer: a started idempotent producer; the sender does not stop it.
        topic: the full name, with ``partitions`` partitions.
        capacity: the maximum number of unconfirmed records.
        health: gets a beat with each confirmation, and those of each partition while it has unconfirmed records.
        metrics: counts confirmed and unconfirmed records.
        monotonic_s: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        topic: str,
        partitions: int,
        capacity: int,
        health: Health,
        metrics: GeneratorMetrics,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._capacity = capacity
        self._health = health
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._queues = [_PartitionQueue(partition, f"{topic}-{partition}") for partition in range(partitions)]
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._taken = 0
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
        """The number of records in the buffer or in flight."""
        return self._taken - self.confirmed

    @property
    def room(self) -> int:
        """The number of records that still fit into the buffer."""
        return self._capacity - self.unconfirmed

    def silent_for_s(self) -> float:
        """Seconds that the oldest batch in flight has waited for its confirmation; 0 if nothing is unconfirmed.

        That of the slowest partition: the others go on until the buffer is full of its records.
        """
        waiting_since_s = min((queue.waiting_since_s for queue in self._queues if queue.batches), default=None)
        return 0.0 if waiting_since_s is None else self._monotonic_s() - waiting_since_s

    def put(self, key: bytes, value: bytes | None, event_time_ms: float) -> int:
        """Add one record to the buffer, and return its partition; the caller has checked ``room``.

        Event time (epoch milliseconds) must not decrease from record to record.
        """
        # The producer's clock and not event time: retention depends on it, and must not delete a backfill on arrival.
        now_ms = int(time.time() * 1000)
        self._taken += 1
        mark = (self._taken, key)
        queue = self._queues[partition_for(key, len(self._queues))]
        batch = queue.batches[-1] if queue.batches else None
        if batch is None or batch.builder.append(timestamp=now_ms, key=key, value=value) is None:
            batch = _Batch(self._producer.create_batch(), first=mark, last=mark, oldest_ms=event_time_ms)
            batch.builder.append(timestamp=now_ms, key=key, value=value)
            queue.batches.append(batch)
            if len(queue.batches) == 1:
                queue.filled.set()
                self._start_waiting(queue)
        batch.last = mark
        batch.count += 1
        return queue.partition

    async def wait_for_change(self, timeout_s: float) -> None:
        """Wait until a batch is confirmed or has failed, at most ``timeout_s``."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    def raise_failure(self) -> None:
        """Raise the error of a failed delivery, if there is one.

        Raises:
            UnsentError: the broker rejected a record.
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
            if queue.batches:
                self._start_waiting(queue)
            else:
                queue.filled.clear()
                self._health.forget(queue.name)
            self.confirmed += batch.count
            self._metrics.sent.inc(batch.count)
            self._metrics.latency.observe(max(time.time() - batch.oldest_ms / 1000, 0.0))
            self._health.beat("connected")
            self._changed.set()

    def _start_waiting(self, queue: _PartitionQueue) -> None:
        queue.waiting_since_s = self._monotonic_s()
        self._health.beat(queue.name)

    async def _hand_over(self, batch: _Batch, partition: int) -> asyncio.Future[Any]:
        while True:
            try:
                delivery: asyncio.Future[Any] = await self._producer.send_batch(
                    batch.builder, self._topic, partition=partition
                )
            except KafkaError as error:
                # Raised only before the producer has accepted the batch: its metadata lacks the topic.
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
