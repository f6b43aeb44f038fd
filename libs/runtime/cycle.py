"""The rhythm of transactions: one is filled while the one before it commits."""

import asyncio
import time
from collections.abc import Callable, Mapping

from aiokafka.structs import TopicPartition

from libs.runtime.timing import CLOSE_TIMEOUT_S
from libs.runtime.transaction import OutputBuffer, TransactionalProducer

# Ending transactions at every interval also among the records of one fetch would cost a tenth of the throughput.
_LONGEST_FILL_S = 1.0


class CommitCycle:
    """Decides when a transaction ends, and commits it in the background."""

    def __init__(
        self,
        producer: TransactionalProducer,
        source: TopicPartition,
        interval_ms: int,
        on_commit: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._producer = producer
        self._source = source
        self._interval_s = interval_ms / 1000
        self._on_commit = on_commit
        self._opened_at_s: float | None = None
        self._commit: asyncio.Task[None] | None = None
        self.outputs: OutputBuffer = producer.buffer()

    def open(self) -> None:
        """There is something to commit; the interval begins with the first such thing."""
        if self._opened_at_s is None:
            self._opened_at_s = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be committed or being committed."""
        return self._opened_at_s is None and self._commit is None

    def due_in_s(self) -> float | None:
        """Seconds until the open transaction has to end; None if there is none."""
        if self._opened_at_s is None:
            return None
        return max(self._opened_at_s + self._interval_s - time.monotonic(), 0.0)

    @property
    def overdue(self) -> bool:
        """Whether the open transaction has been filled for so long that it has to end in the midst of a fetch."""
        return self._opened_at_s is not None and time.monotonic() - self._opened_at_s > _LONGEST_FILL_S

    def check(self) -> None:
        """Raise the error of the last commit, if it failed."""
        if self._commit is not None and self._commit.done():
            self._commit.result()
            self._commit = None

    async def commit(self, position: int, counts: Mapping[str, int]) -> None:
        """End the open transaction at ``position``: waits for the one before, not for this one."""
        if self._commit is not None:
            await self._commit
        self._commit = asyncio.create_task(self._run(self.outputs, position, counts))
        self._commit.add_done_callback(_looked_at)
        self.outputs, self._opened_at_s = self._producer.buffer(), None

    async def _run(self, outputs: OutputBuffer, position: int, counts: Mapping[str, int]) -> None:
        await self._producer.commit(outputs, self._source, position)
        self._on_commit(counts)

    async def close(self) -> None:
        """Let the commit under way end, within a time limit; what is still open is dropped."""
        if self._commit is None:
            return
        await asyncio.wait({self._commit}, timeout=CLOSE_TIMEOUT_S)
        if not self._commit.done():
            self._commit.cancel()
            await asyncio.wait({self._commit})


def _looked_at(commit: asyncio.Task[None]) -> None:
    # Whoever needs to know of a failure awaits it, or is no longer there: asyncio need not complain.
    if not commit.cancelled():
        commit.exception()
