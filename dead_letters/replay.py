"""Writes letters back into ``orders``, each exactly once, however often a replay is interrupted and repeated.

Orders and replay marks are written in one transaction. The transactional id is the same in every run: starting a run fences
any other one and ends its transaction (KIP-98), and the marks are read only after that. After an error the producer is not
used again: the next run has a later epoch, and late requests of this one are rejected.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import TopicPartition

from dead_letters.dead_letter import DeadLetter
from dead_letters.reader import Topics
from dead_letters.replay_marks import ReplayMark, encode_key, encode_mark
from dead_letters.selection import replay_headers
from libs.runtime.errors import AnswerLostError, PipelineError, TransactionFencedError, TransactionTimeoutError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.kafka_client.closing import close_quietly
from libs.runtime.timing import COMMIT_TIMEOUT_S
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.missing_markers import partitions_without_marker
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer

TRANSACTIONAL_ID = "dead-letters-replay"

# So few that a transaction ends in time over a slow link, or under a quota.
LETTERS_PER_TRANSACTION = 100
_BYTES_PER_TRANSACTION = 512 * 1024

_AGAIN = "run the same command again: what was replayed is marked, and is skipped"


class ReplayProducer:
    """``async with`` fences every other replay of this pipeline; each ``write`` is one transaction."""

    def __init__(self, kafka: Kafka, topic_prefix: str, topics: Topics) -> None:
        self._kafka = kafka
        self._transactional_id = topic_prefix + TRANSACTIONAL_ID
        self._topics = topics
        self._connection: BrokerConnection
        self._producer: TransactionalProducer

    async def __aenter__(self) -> Self:
        self._connection = await BrokerConnection.open(self._kafka, (self._topics.orders, self._topics.marks))
        try:
            await self._refuse_missing_markers()
            self._producer = TransactionalProducer(self._connection, self._transactional_id)
            await self._producer.start()
        except BaseException:
            await close_quietly(self._connection.close())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close_quietly(self._producer.abort())
        await close_quietly(self._connection.close())

    async def _refuse_missing_markers(self) -> None:
        """Raise ``PipelineError`` if the broker has left out a commit marker of the last replay.

        It hides the marks behind it. Starting the producer would make the coordinator forget the commit, by which the marker can
        still be written.
        """
        for topic, count in (
            (self._topics.marks, self._topics.marks_partitions),
            (self._topics.orders, self._topics.orders_partitions),
        ):
            partitions = [TopicPartition(topic, number) for number in range(count)]
            without_marker: list[TopicPartition] = []
            with suppress(TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed, IncompatibleBrokerVersion):
                without_marker = await partitions_without_marker(self._connection, self._transactional_id, partitions)
            if without_marker:
                raise PipelineError(
                    f"the broker has left out a commit marker of an earlier replay, in {topic}-{without_marker[0].partition}",
                    advice="`pipeline complete-transactions` writes it; nothing was replayed",
                )

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Write ``letters`` back into the partitions they came from, with a replay mark for each.

        Raises:
            PipelineError: it is unknown whether they were written; this producer cannot be used again.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._write_marks(letters, await self._write_orders(letters))
                await self._producer.end(commit=True)
        except TransactionFencedError as error:
            # The broker does not report which of the two it was.
            raise PipelineError(
                "another replay has taken over, or this one was paused for too long", advice=_AGAIN
            ) from error
        except TimeoutError as error:
            raise TransactionTimeoutError(f"no commit within {COMMIT_TIMEOUT_S:.0f} s", advice=_AGAIN) from error
        except (KafkaError, AnswerLostError) as error:
            raise PipelineError(f"a transaction failed: {error!r}", advice=_AGAIN) from error

    async def _write_orders(self, letters: Sequence[DeadLetter]) -> dict[int, list[int]]:
        """Write the orders; returns their new offsets by partition, in the order of their letters."""
        outputs = OutputBuffer({})
        now_ms = int(time.time() * 1000)
        for letter in letters:
            headers = replay_headers(letter, self._topics)
            outputs.send(self._topics.orders, _partition(letter), letter.key, letter.value, now_ms, headers)
        return await self._deliver(outputs)

    async def _write_marks(self, letters: Sequence[DeadLetter], offsets: dict[int, list[int]]) -> None:
        outputs = OutputBuffer({})
        now_s = round(time.time(), 3)
        next_offset = {partition: iter(each) for partition, each in offsets.items()}
        for letter in letters:
            partition = _partition(letter)
            mark = ReplayMark(letter.fingerprint(), now_s, partition, next(next_offset[partition]))
            outputs.send(
                self._topics.marks,
                letter.place.partition % self._topics.marks_partitions,
                encode_key(letter),
                encode_mark(mark),
                int(now_s * 1000),
                [],
            )
        await self._deliver(outputs)

    async def _deliver(self, outputs: OutputBuffer) -> dict[int, list[int]]:
        """Write into one topic; returns the records' offsets by partition."""
        batches = {TopicPartition(*target): of_target for target, of_target in outputs.batches().items()}
        await self._producer.add_partitions(batches)
        written = await self._producer.produce(batches)
        return {
            target.partition: [
                first + number
                for first, batch in zip(written[target], of_target, strict=True)
                for number in range(batch.record_count)
            ]
            for target, of_target in batches.items()
        }


def _partition(letter: DeadLetter) -> int:
    assert letter.rejection is not None  # letters without one are never selected
    return letter.rejection.partition


async def in_transactions(letters: AsyncIterator[list[DeadLetter]]) -> AsyncIterator[list[DeadLetter]]:
    """Split letters into chunks of one transaction each; a letter that is larger than a transaction's limit is alone in one."""
    portion: list[DeadLetter] = []
    portion_bytes = 0
    async for chunk in letters:
        for letter in chunk:
            size = len(letter.value or b"")
            if len(portion) >= LETTERS_PER_TRANSACTION or (portion and portion_bytes + size > _BYTES_PER_TRANSACTION):
                yield portion
                portion, portion_bytes = [], 0
            portion.append(letter)
            portion_bytes += size
    if portion:
        yield portion
