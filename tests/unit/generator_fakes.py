"""A fake producer whose deliveries the test completes."""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

BATCH_RECORDS = 3


@dataclass
class FakeBatch:
    records: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    closed: bool = False

    def append(self, *, timestamp: int, key: bytes, value: bytes | None) -> object | None:
        assert type(timestamp) is int
        if self.closed or len(self.records) == BATCH_RECORDS:
            return None
        self.records.append((key, value))
        return object()

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeProducer:
    """Accepts batches; ``answer`` confirms or fails the outstanding ones. ``refusals`` are raised before accepting any."""

    refusals: deque[Exception] = field(default_factory=deque)
    written: dict[int, list[bytes]] = field(default_factory=dict)
    outstanding: dict[int, tuple[FakeBatch, "asyncio.Future[None]"]] = field(default_factory=dict)
    confirms_at_once: bool = False

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> Any:
        if self.refusals:
            raise self.refusals.popleft()
        assert batch.closed
        assert partition not in self.outstanding, "one batch per partition at a time"
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.outstanding[partition] = (batch, future)
        if self.confirms_at_once:
            self.answer()
        return future

    def answer(self, error: Exception | None = None, *, to: Collection[int] | None = None) -> int:
        """Confirm or fail the outstanding batches (``to``: of these partitions); returns their number of records."""
        due = [partition for partition in self.outstanding if to is None or partition in to]
        answered = {partition: self.outstanding.pop(partition) for partition in due}
        for partition, (batch, future) in answered.items():
            if error is None:
                self.written.setdefault(partition, []).extend(key for key, _ in batch.records)
                future.set_result(None)
            else:
                future.set_exception(error)
        return sum(len(batch.records) for batch, _ in answered.values())


async def settle() -> None:
    """Run the event loop until all tasks wait for something else."""
    for _ in range(20):
        await asyncio.sleep(0)
