"""Pipelined transactions: one is filled while the previous one commits."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import structlog
from aiokafka.structs import TopicPartition

from libs.runtime.errors import NotAMemberError, TransactionFencedError, TransactionTimeoutError
from libs.runtime.exactly_once.stage import Tally
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.kafka_client.partitioning import partition_name
from libs.runtime.metrics import StageMetrics
from libs.runtime.timing import CLOSE_TIMEOUT_S
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer

log = structlog.get_logger()

Offsets = Mapping[TopicPartition, int]

# In a backlog latency does not matter, and each transaction has the same cost, whatever its size.
_BACKLOG_INTERVALS = 3
# Also committing at every interval between the records of one fetch would cost a tenth of the throughput.
_LONGEST_FILL_S = 1.0


class PipelinedCommits:
    """Decides when a transaction ends, and commits it in the background.

    Args:
        producer: the attempt's producer.
        member: the group member that the offsets are committed for.
        output_partitions: the number of partitions of each output topic.
        interval_ms: how long a transaction collects records.
        size: how large a transaction may become; told how long each took.
        metrics: where transactions are counted.
        on_commit: called after each commit, with its offsets and tallies.
    """

    def __init__(
        self,
        producer: TransactionalProducer,
        member: GroupMember,
        output_partitions: Mapping[str, int],
        interval_ms: int,
        size: TransactionSize,
        metrics: StageMetrics,
        on_commit: Callable[[Offsets, Sequence[Tally]], None],
    ) -> None:
        self._producer = producer
        self._member = member
        self._output_partitions = output_partitions
        self._interval_s = interval_ms / 1000
        self._size = size
        self._metrics = metrics
        self._on_commit = on_commit
        self._numbers = count(1)
        self._records = 0
        self._opened_at_s: float | None = None
        self._commit: asyncio.Task[None] | None = None
        self.committing: Offsets = {}
        """The offsets of the commit in progress."""
        self.failed: Offsets = {}
        """The offsets of the commit that failed."""
        self.outputs = OutputBuffer(output_partitions)
        self.pending_records = 0
        """The number of records that are going to be added to ``outputs`` right before the commit."""
        self.in_backlog = False
        """Whether there is more to read in every partition that the open transaction has records of."""

    def open(self, records: int = 0) -> None:
        """Add so many input records to the open transaction. The interval begins with the first ones."""
        self._records += records
        if self._opened_at_s is None:
            structlog.contextvars.bind_contextvars(transaction=next(self._numbers))
            self._opened_at_s = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether there is no open transaction and no commit in progress."""
        return self._opened_at_s is None and self._commit is None

    def due_in_s(self, *, urgent: bool) -> float | None:
        """Seconds until the open transaction is to be committed; None if there is none, or it has to wait for ``awaited``.

        It collects records while the previous one commits, until it is full. An ``urgent`` one does not wait for its interval.
        """
        if self._opened_at_s is None:
            return None
        if self._is_full:
            return 0.0
        if self._is_committing:
            return None
        if urgent:
            return 0.0
        due_at_s = self._opened_at_s + self._interval_s * (_BACKLOG_INTERVALS if self.in_backlog else 1)
        return max(due_at_s - time.monotonic(), 0.0)

    @property
    def overdue(self) -> bool:
        """Whether the open transaction has to be committed before the rest of a fetch is processed."""
        if self._opened_at_s is None:
            return False
        if self._is_full:
            return True
        return not self._is_committing and time.monotonic() - self._opened_at_s > _LONGEST_FILL_S

    @property
    def _is_full(self) -> bool:
        outputs, size = self.outputs, self._size
        return outputs.record_count + self.pending_records >= size.max_records or outputs.size_bytes >= size.max_bytes

    @property
    def _is_committing(self) -> bool:
        return self._commit is not None and not self._commit.done()

    @property
    def awaited(self) -> asyncio.Future[None] | None:
        """The commit that is in progress, or that ``check`` has not examined yet."""
        return self._commit

    def check(self) -> None:
        """Raise the last commit's error, if it failed."""
        if self._commit is not None and self._commit.done():
            self._commit.result()
            self._commit, self.committing = None, {}

    async def commit(self, offsets: Offsets, tallies: Sequence[Tally]) -> None:
        """Commit the open transaction in the background, after waiting for the previous one."""
        if self._commit is not None:
            await self._commit
        self.committing = offsets
        self._commit = asyncio.create_task(self._run(self.outputs, offsets, self._records, tallies))
        self._commit.add_done_callback(_retrieve_error)
        self.outputs, self.pending_records = OutputBuffer(self._output_partitions), 0
        self._records, self._opened_at_s = 0, None
        structlog.contextvars.unbind_contextvars("transaction")  # the commit's task has a context of its own

    async def _run(self, outputs: OutputBuffer, offsets: Offsets, records: int, tallies: Sequence[Tally]) -> None:
        began_s, size_bytes = time.monotonic(), outputs.size_bytes
        try:
            await self._producer.commit(outputs, offsets, self._member)
        except BaseException as error:
            # A stop or a rebalance ends a commit of any size.
            if not isinstance(error, asyncio.CancelledError | NotAMemberError):
                self._size.failed(outputs.record_count, size_bytes, time.monotonic() - began_s)
            self.failed = offsets
            self._metrics.transactions[_outcome(error)].inc()
            raise
        seconds = time.monotonic() - began_s
        self._size.committed(outputs.record_count, size_bytes, seconds)
        self._metrics.committed(records, outputs.record_counts(), seconds)
        next_offsets = {partition_name(source): offset for source, offset in offsets.items()}
        log.debug("transaction committed", next_offsets=next_offsets, records=records, seconds=round(seconds, 4))
        self._on_commit(offsets, tallies)

    async def close(self) -> None:
        """Wait for the commit in progress, within a time limit; the open transaction is dropped."""
        if self._commit is None:
            return
        try:
            await asyncio.wait({self._commit}, timeout=CLOSE_TIMEOUT_S)
        finally:  # also when this is cancelled: the producer is closed next, and must not be in use then
            if not self._commit.done():
                self._commit.cancel()
                await asyncio.wait({self._commit})


def _outcome(error: BaseException) -> str:
    if isinstance(error, TransactionFencedError | NotAMemberError):
        return "fenced"
    return "timed_out" if isinstance(error, TransactionTimeoutError) else "failed"


def _retrieve_error(commit: asyncio.Task[None]) -> None:
    # check() or commit() raises the error, unless the loop ended before. This keeps asyncio from logging it.
    if not commit.cancelled():
        commit.exception()
