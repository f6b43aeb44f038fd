"""The rhythm of transactions: one is filled while the one before it commits."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import structlog
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition

from libs.runtime.errors import NotAMemberError, TransactionTimeoutError
from libs.runtime.logic import Tally
from libs.runtime.metrics import StageMetrics
from libs.runtime.timing import CLOSE_TIMEOUT_S
from libs.runtime.transaction import OutputBuffer, TransactionalProducer
from libs.runtime.turns import CommitTurns

log = structlog.get_logger()

# A transaction costs some 3.5 ms of CPU, whatever is in it. In a backlog nobody waits for one that soon.
_BACKLOG_INTERVALS = 3
# Ending transactions at every interval also among the records of one fetch would cost a tenth of the throughput.
_LONGEST_FILL_S = 1.0


class CommitCycle:
    """Decides when a transaction ends, and commits it in the background."""

    def __init__(
        self,
        producer: TransactionalProducer,
        source: TopicPartition,
        interval_ms: int,
        most_records: int,
        turns: CommitTurns,
        metrics: StageMetrics,
        on_commit: Callable[[int, Tally], None],
    ) -> None:
        self._producer = producer
        self._source = source
        self._interval_s = interval_ms / 1000
        self._most_records = most_records
        self._turns = turns
        self._metrics = metrics
        self._on_commit = on_commit
        self._records = 0
        self._opened_at_s: float | None = None
        self._turn: asyncio.Future[None] | None = None
        self._commit: asyncio.Task[None] | None = None
        self.outputs: OutputBuffer = producer.buffer()
        self.waiting = 0
        """Records still to be read: more of them than the open transaction has are a backlog, in which it lasts longer."""

    def open(self, offset: int, records: int = 0) -> None:
        """There is something to commit, of so many input records from ``offset`` on.

        The interval begins with the first such thing, and by its offset the transaction is known in the log.
        """
        self._records += records
        if self._opened_at_s is None:
            structlog.contextvars.bind_contextvars(transaction=offset)
            self._opened_at_s = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be committed or being committed."""
        return self._opened_at_s is None and self._commit is None

    def due_in_s(self) -> float | None:
        """Seconds until the open transaction has to end; None if there is none."""
        if self._opened_at_s is None:
            return None
        if _records_in(self.outputs).total() >= self._most_records:
            return 0.0
        interval_s = self._interval_s * (_BACKLOG_INTERVALS if self.waiting > self._records else 1)
        return max(self._opened_at_s + interval_s - time.monotonic(), 0.0)

    @property
    def overdue(self) -> bool:
        """Whether the open transaction has been filled for so long that it has to end in the midst of a fetch."""
        return self._opened_at_s is not None and time.monotonic() - self._opened_at_s > _LONGEST_FILL_S

    @property
    def awaited(self) -> asyncio.Future[None] | None:
        """The commit that has not ended yet, or of which ``check`` has not been asked; without one, the next one's turn."""
        return self._commit or self._turn

    def is_due(self, *, urgent: bool) -> bool:
        """Whether the open transaction is to be committed now.

        An ``urgent`` one does not wait for its time to come, but for its turn, and takes in what else is read until then
        and while the one before commits: otherwise that would have to wait for two transactions.
        """
        due_in_s = self.due_in_s()
        if due_in_s is None:
            return False
        if urgent and self._commit is None and self._turn is None:
            self._turn = self._turns.ask()
        return due_in_s <= 0 or (self._turn is not None and self._turn.done())

    def check(self) -> None:
        """Raise the error of the last commit, if it failed."""
        if self._commit is not None and self._commit.done():
            self._commit.result()
            self._commit = None

    async def commit(self, position: int, tally: Tally) -> None:
        """End the open transaction at ``position``: waits for the one before, not for this one."""
        if self._commit is not None:
            await self._commit
        self._commit = asyncio.create_task(self._run(self._turn, self.outputs, position, self._records, tally))
        self._commit.add_done_callback(_looked_at)
        self.outputs, self._records, self._opened_at_s, self._turn = self._producer.buffer(), 0, None, None
        structlog.contextvars.unbind_contextvars("transaction")  # the commit's task has a context of its own

    async def _run(
        self, turn: asyncio.Future[None] | None, outputs: OutputBuffer, position: int, records: int, tally: Tally
    ) -> None:
        began_s, seconds = time.monotonic(), None
        try:
            await self._producer.commit(outputs, self._source, position)
            seconds = time.monotonic() - began_s
        except BaseException as error:
            self._metrics.transactions[_outcome(error)].inc()
            raise
        finally:
            if turn is not None:
                self._turns.give_back(turn, seconds)
        self._metrics.committed(records, _records_in(outputs), seconds)
        log.debug("transaction committed", next_offset=position, records=records, seconds=round(seconds, 4))
        self._on_commit(position, tally)

    async def close(self) -> None:
        """Let the commit under way end, within a time limit; what is still open is dropped."""
        if self._turn is not None:
            self._turns.give_back(self._turn)
            self._turn = None
        if self._commit is None:
            return
        try:
            await asyncio.wait({self._commit}, timeout=CLOSE_TIMEOUT_S)
        finally:  # also when whoever waits here is cancelled: the producer is given up next, and nothing may use it then
            if not self._commit.done():
                self._commit.cancel()
                await asyncio.wait({self._commit})


def _records_in(outputs: OutputBuffer) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (topic, _), batches in outputs.batches().items():
        counts[topic] += sum(batch.record_count() for batch in batches)
    return counts


def _outcome(error: BaseException) -> str:
    if isinstance(error, ProducerFenced | InvalidProducerEpoch | NotAMemberError):
        return "fenced"
    return "timed_out" if isinstance(error, TransactionTimeoutError) else "failed"


def _looked_at(commit: asyncio.Task[None]) -> None:
    # Whoever needs to know of a failure awaits it, or is no longer there: asyncio need not complain.
    if not commit.cancelled():
        commit.exception()
