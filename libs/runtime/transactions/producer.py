"""A transactional producer that sends no further request after one without a response, except an abort.

In the protocol's first version, transactions are identified by producer id and epoch only. A request without a response may
reach the broker late and act on the next transaction of the same producer (KAFKA-17754). So the producer begins none after the
first lost response. Its successor, which ends the open transaction, has another producer id or epoch.

The abort does no harm: docs/decisions/0014-one-transaction-for-a-replica.md has each order of it and a late request.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)
from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff
from libs.runtime.errors import (
    NotAMemberError,
    TransactionFencedError,
    TransactionTimeoutError,
)
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.kafka_requests.txn_offset_commit import MemberOffsetCommit
from libs.runtime.timing import COMMIT_TIMEOUT_S, TRANSACTION_TIMEOUT_MS
from libs.runtime.transactions.connection import GROUP, TRANSACTION, BrokerConnection
from libs.runtime.transactions.error_codes import Meaning, meaning_of, refusal
from libs.runtime.transactions.record_batches import OutputBuffer, RecordBatch
from libs.runtime.transactions.unwritten_batches import UnwrittenBatches

_ALL_REPLICAS = -1
_MAX_SEQUENCE = 2**31
_OPERATION_NOT_ATTEMPTED = 55
_LOOK_UP_AFTER_S = 1.0


class TransactionalProducer:
    """Commits records and offsets together, or neither.

    Starting it ends the transaction of every earlier producer with the same transactional id, and fences it (KIP-98).
    After an error it can only be aborted.

    Args:
        connection: used by this producer until it ends; not closed.
        transactional_id: the full id, with prefix.
        topic_prefix: put before the topics that are written.
        offset_metadata: committed with each offset.
    """

    def __init__(
        self, connection: BrokerConnection, transactional_id: str, topic_prefix: str = "", offset_metadata: str = ""
    ) -> None:
        self._connection = connection
        self.transactional_id = transactional_id
        self._prefix = topic_prefix
        self._offset_metadata = offset_metadata
        self._producer_id, self._epoch = -1, -1
        self._sequences: defaultdict[TopicPartition, int] = defaultdict(int)
        self._may_be_open = False
        self.offsets_accepted_by: int | None = None
        """The broker that has accepted offsets last. It was the group's coordinator: the replicas in sync have acknowledged them."""

    async def start(self) -> None:
        """Get a producer id; waits while the transaction of an earlier producer is being ended.

        Raises:
            TransactionTimeoutError: that took longer than the transaction timeout.
            AnswerLostError: a late copy of the request may fence this producer at any time: use another transactional id.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                self._producer_id, self._epoch = await init_producer_id(self._connection, self.transactional_id)
        except TimeoutError as error:
            raise TransactionTimeoutError(f"no producer id within {COMMIT_TIMEOUT_S:.0f} s") from error

    async def commit(self, outputs: OutputBuffer, offsets: Mapping[TopicPartition, int], member: GroupMember) -> None:
        """Make ``outputs`` visible and ``offsets``, the next ones to read, committed: in one transaction.

        Raises:
            NotAMemberError: ``member`` no longer belongs to the group.
            TransactionFencedError: a successor, or the timeout, has ended the transaction.
            AnswerLostError: it is unknown whether the transaction is committed.
            BatchTooLargeError: a topic's limit has been lowered since the topic was created.
            TransactionTimeoutError: it took longer than the transaction timeout.
            KafkaError: anything else.
        """
        batches = {
            TopicPartition(self._prefix + topic, partition): batches
            for (topic, partition), batches in outputs.batches().items()
        }
        await _in_time(self._commit(batches, offsets, member))

    async def _commit(
        self,
        batches: Mapping[TopicPartition, list[RecordBatch]],
        offsets: Mapping[TopicPartition, int],
        member: GroupMember,
    ) -> None:
        await all_of(self.add_partitions(batches), self._add_offsets(member.group))
        # Not concurrently: the broker verifies the requests of a transaction one at a time, and rejects the second.
        await self.produce(batches)
        await self._commit_offsets(offsets, member)
        await self.end(commit=True)

    async def find_coordinator(self, partition: TopicPartition, member: GroupMember) -> int:
        """The broker that is the coordinator of the group of ``member``: it accepts an offset, which is aborted.

        Raises:
            NotAMemberError, TransactionFencedError, AnswerLostError, TransactionTimeoutError, KafkaError: as ``commit``.
        """
        await _in_time(self._abort_an_offset(partition, member))
        assert self.offsets_accepted_by is not None
        return self.offsets_accepted_by

    async def _abort_an_offset(self, partition: TopicPartition, member: GroupMember) -> None:
        await self._add_offsets(member.group)
        await self._commit_offsets({partition: 0}, member)
        await self.end(commit=False)

    async def add_partitions(self, partitions: Iterable[TopicPartition]) -> None:
        """Begin a transaction with ``partitions``, or add them to the one that is open."""
        topics: defaultdict[str, list[int]] = defaultdict(list)
        for topic, partition in partitions:
            topics[topic].append(partition)
        if not topics:
            return
        self._may_be_open = True
        request = AddPartitionsToTxnRequest(self.transactional_id, self._producer_id, self._epoch, [*topics.items()])
        await self._ask(TRANSACTION, self.transactional_id, request, lambda answer: _codes(answer.errors))

    async def _add_offsets(self, group: str) -> None:
        self._may_be_open = True
        request = AddOffsetsToTxnRequest(self.transactional_id, self._producer_id, self._epoch, group)
        await self._ask(TRANSACTION, self.transactional_id, request, lambda answer: {answer.error_code})

    async def _commit_offsets(self, offsets: Mapping[TopicPartition, int], member: GroupMember) -> None:
        producer = (self._producer_id, self._epoch)
        request = MemberOffsetCommit(self.transactional_id, producer, member, offsets, self._offset_metadata)
        await self._ask(GROUP, member.group, request, lambda answer: _codes(answer.topics))
        self.offsets_accepted_by = await self._connection.coordinator(GROUP, member.group)

    async def end(self, *, commit: bool) -> None:
        """End the open transaction. Before a commit, all of its records have to be acknowledged."""
        request = EndTxnRequest(self.transactional_id, self._producer_id, self._epoch, commit)
        await self._ask(TRANSACTION, self.transactional_id, request, lambda answer: {answer.error_code})
        self._may_be_open = False

    async def abort(self) -> None:
        """Abort the transaction if one may be open."""
        if self._may_be_open:
            await _in_time(self.end(commit=False))

    async def _ask(self, kind: int, key: str, request: Any, error_codes: Callable[[Any], set[int]]) -> None:
        """Send a request to a coordinator until it succeeds; it is repeated only after a response."""
        pauses, looked_up_s = _pauses(), time.monotonic()
        while True:
            # A former coordinator of the group that cannot reach the other brokers answers that it is still loading.
            if kind == GROUP and time.monotonic() - looked_up_s > _LOOK_UP_AFTER_S:
                self._connection.forget_coordinators()
                looked_up_s = time.monotonic()
            answer = await self._connection.ask_coordinator(kind, key, request)
            for code in sorted(error_codes(answer)):
                meaning = meaning_of(code)
                if meaning is Meaning.RETRY:
                    await asyncio.sleep(pauses.next_s())
                    break
                if meaning is Meaning.REFRESH_AND_RETRY:
                    await self._connection.refresh()
                    break
                if meaning is not Meaning.DONE:
                    raise self._error(meaning, code, type(request).__name__)
            else:
                return

    async def produce(self, batches: Mapping[TopicPartition, list[RecordBatch]]) -> dict[TopicPartition, list[int]]:
        """Write batches into partitions that were added; returns the offset of each batch's first record."""
        unwritten = UnwrittenBatches(batches, self._encode)
        while unwritten.partitions:
            by_leader: defaultdict[int, list[TopicPartition]] = defaultdict(list)
            for partition in unwritten.partitions:
                by_leader[await self._connection.leader(partition)].append(partition)
            await all_of(*(self._produce_to(*leader, unwritten) for leader in by_leader.items()))
            if unwritten.partitions:
                await self._connection.refresh()
        return unwritten.offsets

    def _encode(self, partition: TopicPartition, batch: RecordBatch) -> bytearray:
        sequence = self._sequences[partition]
        self._sequences[partition] = (sequence + batch.record_count) % _MAX_SEQUENCE
        return batch.encode(self._producer_id, self._epoch, sequence)

    async def _produce_to(
        self, leader: int, partitions: Collection[TopicPartition], unwritten: UnwrittenBatches
    ) -> None:
        """Send to one broker, one request after the other, until all is written or the broker is no longer the leader."""
        pauses = _pauses()
        while topics := unwritten.request_for(partitions):
            request = ProduceRequest(self.transactional_id, _ALL_REPLICAS, TRANSACTION_TIMEOUT_MS, topics)
            try:
                answer = await self._connection.send(leader, request)
            except NodeNotReadyError:
                return
            meanings = {
                unwritten.answered(TopicPartition(topic, number), code, offset)
                for topic, answers in answer.topics
                for number, code, offset, *_ in answers
            }
            for meaning, code in meanings:
                if meaning not in (Meaning.DONE, Meaning.RETRY, Meaning.REFRESH_AND_RETRY):
                    raise self._error(meaning, code, "Produce")
            if any(meaning is Meaning.REFRESH_AND_RETRY for meaning, _ in meanings):
                return
            if any(meaning is Meaning.RETRY for meaning, _ in meanings):
                await asyncio.sleep(pauses.next_s())

    def _error(self, meaning: Meaning, code: int, name: str) -> Exception:
        if meaning is Meaning.FENCED:
            return TransactionFencedError(f"{name} of {self.transactional_id}: error code {code}")
        if meaning is Meaning.NOT_A_MEMBER:
            return NotAMemberError(f"the group goes on without this replica: {name}, error code {code}")
        return refusal(code, name)


async def init_producer_id(connection: BrokerConnection, transactional_id: str) -> tuple[int, int]:
    """Get the producer id and epoch of ``transactional_id``; waits until its open transaction has ended.

    Raises:
        AnswerLostError: see ``BrokerConnection``.
        KafkaError: the coordinator rejects the request.
    """
    request = InitProducerIdRequest(transactional_id, TRANSACTION_TIMEOUT_MS)
    answer, code = await ask_until_decided(connection, transactional_id, request, lambda answer: answer.error_code)
    meaning = meaning_of(code)
    if meaning is Meaning.DONE:
        return answer.producer_id, answer.producer_epoch
    if meaning is Meaning.FENCED:
        raise TransactionFencedError(f"{transactional_id}: another producer with this id has just started")
    raise refusal(code, "InitProducerId")


async def ask_until_decided(
    connection: BrokerConnection, transactional_id: str, request: Any, error_code: Callable[[Any], int]
) -> tuple[Any, int]:
    """The response of a transaction coordinator and its error code, once that does not ask for a repetition.

    Raises:
        AnswerLostError: see ``BrokerConnection``.
    """
    pauses = _pauses()
    while True:
        answer = await connection.ask_coordinator(TRANSACTION, transactional_id, request)
        code = error_code(answer)
        meaning = meaning_of(code)
        if meaning is Meaning.RETRY:
            await asyncio.sleep(pauses.next_s())
        elif meaning is Meaning.REFRESH_AND_RETRY:
            await connection.refresh()
        else:
            return answer, code


def _pauses() -> Backoff:
    # Between the response to a commit and its markers in all partitions, the coordinator rejects the next transaction for a
    # few milliseconds (KAFKA-5477).
    return Backoff(first_s=0.002, longest_s=0.1)


async def all_of(*work: Awaitable[Any]) -> list[Any]:
    """The results of all; the first error cancels the others, and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _in_time(work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(COMMIT_TIMEOUT_S):
            await work
    except TimeoutError as error:
        raise TransactionTimeoutError(f"the transaction did not end within {COMMIT_TIMEOUT_S:.0f} s") from error


def _codes(topics: Iterable[Any]) -> set[int]:
    """The error codes in a response with partitions by topic, except OPERATION_NOT_ATTEMPTED."""
    return {code for _, partitions, *_ in topics for _, code, *_ in partitions} - {_OPERATION_NOT_ATTEMPTED}
