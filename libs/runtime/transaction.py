"""One transactional producer and what goes into its next transaction.

aiokafka's traps that shape this file: a failed produce does not fail the transaction, so every delivery is awaited
before the offsets are sent; ``stop()`` in an open transaction aborts nothing and leaves readers stuck until it times
out; after any error a producer's sequence numbers and its abort are not to be relied on, so it is thrown away, and the
next one with the same transactional id fences it and ends what it left open.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from libs.runtime.closing import close_producer, close_quietly
from libs.runtime.errors import BatchTooLargeError, TransactionTimeoutError
from libs.runtime.lean_append import Headers, Row, append_rows
from libs.runtime.lean_backoff import ask_again_soon
from libs.runtime.member_offsets import GroupMember, commit_offsets_as
from libs.runtime.partitioning import partition_for
from libs.runtime.settings import ServiceSettings
from libs.runtime.timing import COMMIT_TIMEOUT_S, TRANSACTION_TIMEOUT_MS

# One request is in flight per broker, so throughput is the size of a batch per round trip: 16 KiB costs half the speed.
MAX_BATCH_BYTES = 256 * 1024
# A record derived from one that just fits the broker's 1 MiB has to fit as well (see the topics' max.message.bytes).
MAX_REQUEST_BYTES = 4 * 1024 * 1024
# How long aiokafka waits before it asks again; while the last transaction is still completing, see lean_backoff.
RETRY_BACKOFF_MS = 15


class OutputBuffer:
    """The records of one transaction, encoded as they come; an ``Output``."""

    def __init__(self, producer: AIOKafkaProducer, partitions: Mapping[str, int]) -> None:
        self._producer = producer
        self._partitions = partitions
        self._batches: dict[tuple[str, int], _PartitionBatches] = {}

    def partition_count(self, topic: str) -> int:
        return self._partitions[topic]

    def partition_for(self, topic: str, key: bytes | None) -> int:
        return partition_for(key, self._partitions[topic])

    def extend(self, topic: str, partition: int, rows: Iterable[Row], headers: Headers) -> None:
        target = (topic, partition)
        batches = self._batches.get(target)
        if batches is None:
            batches = self._batches[target] = _PartitionBatches(self._producer.create_batch)
        batches.extend(rows, headers)

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Headers,
    ) -> None:
        self.extend(topic, partition, ((key, value, timestamp_ms),), headers)

    def batches(self) -> dict[tuple[str, int], list[BatchBuilder]]:
        """All batches by topic and partition, in the order in which they were filled."""
        return {target: batches.filled for target, batches in self._batches.items() if batches.filled}


class _PartitionBatches:
    """What goes to one partition: as many batches as it takes."""

    def __init__(self, create_batch: Callable[[], BatchBuilder]) -> None:
        self._create_batch = create_batch
        self.filled: list[BatchBuilder] = []

    def extend(self, rows: Iterable[Row], headers: Headers) -> None:
        remaining = iter(rows)
        refused = append_rows(self.filled[-1], remaining, headers) if self.filled else next(remaining, None)
        while refused is not None:
            batch = self._create_batch()
            self.filled.append(batch)
            # An empty batch takes a record of any size; the broker judges whether it is too large.
            refused = append_rows(batch, chain((refused,), remaining), headers)


def _looked_at(delivery: asyncio.Future[object]) -> None:
    # The first failure is raised, and ends the producer; asyncio need not complain about the others.
    if not delivery.cancelled():
        delivery.exception()


def transactional_client(bootstrap_servers: str, transactional_id: str) -> AIOKafkaProducer:
    """A producer with the settings that transactions of whole batches need; not started."""
    ask_again_soon()
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_REQUEST_BYTES,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        linger_ms=0,
    )


class TransactionalProducer:
    """Commits outputs and offsets together, or neither.

    Starting it fences every earlier producer with the same transactional id (KIP-98), and only as long as ``member`` is
    one of its group it can commit (KIP-447).
    """

    def __init__(
        self, settings: ServiceSettings, transactional_id: str, member: GroupMember, partitions: Mapping[str, int]
    ) -> None:
        self._prefix = settings.topic_prefix
        self._partitions = partitions
        self._group = member.group
        self._producer = transactional_client(settings.kafka_bootstrap_servers, transactional_id)
        commit_offsets_as(self._producer, member)
        self._in_transaction = False

    async def start(self) -> None:
        """Connect and fence; waits while the transaction of an earlier producer is being ended.

        Raises:
            TransactionTimeoutError: that took longer than a transaction may.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._producer.start()
        except TimeoutError as error:
            raise TransactionTimeoutError(f"no producer id within {COMMIT_TIMEOUT_S:.0f} s") from error

    def buffer(self) -> OutputBuffer:
        """An empty buffer for the next transaction."""
        return OutputBuffer(self._producer, self._partitions)

    async def commit(self, outputs: OutputBuffer, source: TopicPartition, position: int) -> None:
        """Make ``outputs`` visible and ``position`` of ``source`` committed, in one transaction.

        Raises:
            NotAMemberError: the group goes on without this replica.
            BatchTooLargeError: a topic's limit is below what it was when the topic was made.
            TransactionTimeoutError: it took longer than the coordinator keeps a transaction open.
            KafkaError: anything else; the producer must be closed and not used again.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._producer.begin_transaction()
                self._in_transaction = True
                await asyncio.gather(
                    *(
                        self._deliver(topic, partition, batches)
                        for (topic, partition), batches in outputs.batches().items()
                    )
                )
                await self._producer.send_offsets_to_transaction({source: position}, self._group)
                await self._producer.commit_transaction()
                self._in_transaction = False
        except TimeoutError as error:
            raise TransactionTimeoutError(f"no commit within {COMMIT_TIMEOUT_S:.0f} s") from error

    async def _deliver(self, topic: str, partition: int, batches: list[BatchBuilder]) -> None:
        deliveries = []
        for batch in batches:
            batch.close()
            delivery = await self._producer.send_batch(batch, self._prefix + topic, partition=partition)
            delivery.add_done_callback(_looked_at)
            deliveries.append(delivery)
        for delivery, batch in zip(deliveries, batches, strict=True):
            try:
                await delivery
            except MessageSizeTooLargeError as error:
                raise BatchTooLargeError(
                    f"topic {self._prefix + topic!r} takes no batch of {batch.size()} bytes",
                    advice=f"raise its max.message.bytes: {MAX_REQUEST_BYTES} is enough",
                ) from error

    async def close(self) -> None:
        """End the open transaction and the producer, within a time limit."""
        if self._in_transaction:
            await close_quietly(self._producer.abort_transaction())
        await close_producer(self._producer)
