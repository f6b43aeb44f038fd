"""Writes each metric exactly once into a database: rows and offsets in one transaction that also checks the owner's epoch.

A lease in the database lets one sink write at a time. The lease alone is not enough: a sink that was paused for longer than
its lease still believes that it is the owner. It is fenced by the epoch, which each new owner increments and every write
checks. After any error, including a COMMIT with an unknown outcome, the progress is read again before the next write.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from libs.events.product_metrics import MetricRow, decode_metric
from libs.runtime.errors import PipelineError
from services.sink.database.session import (
    REBUILD,
    REBUILD_LOSES,
    Database,
    DatabaseUnavailableError,
    FencedError,
    Identity,
    Move,
    ProgressMovedError,
    Session,
)
from services.sink.metrics_writer import OutputChangedError, OutputUnavailableError, Window, WriterDisplacedError
from services.sink.record_batcher import Position

T = TypeVar("T")

# The same as a stage's session timeout: the time without a writer after the owner has crashed.
LEASE_S = 10.0
_RENEW_EVERY_S = LEASE_S / 4

_CALL_TIMEOUT_S = 60.0
_STOPPING_S = 2.0


class OtherTopicError(PipelineError):
    """The database has the metrics of another cluster, or of a topic that has been recreated since."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem,
            advice=f"`{REBUILD}` (same settings) empties it, and the sink then fills it from the topic's beginning; "
            f"{REBUILD_LOSES}; or set SINK_DATABASE_URL to another database",
        )


class DatabaseWriter:
    """A ``MetricsWriter`` that writes rows into ``database``, for the metrics of ``identity``.

    Args:
        database: the database to connect to.
        identity: the cluster that the service found at its start, and the topic; ``open`` may replace the cluster.
        stop: once it is set, calls to the database are no longer awaited.
        monotonic_s: a monotonic clock, in seconds.
    """

    kind = "database"

    def __init__(
        self,
        database: Database,
        identity: Identity,
        stop: asyncio.Event,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._identity = identity
        self._stop = stop
        self._monotonic_s = monotonic_s
        self._owner = uuid.uuid4().hex
        self._session: Session | None = None
        self._epoch: int | None = None
        self._offsets: dict[int, int] = {}
        self._renewed_s = 0.0
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def parse(self, values: Sequence[bytes | None]) -> list[MetricRow]:
        return [decode_metric(value) for value in values]

    def groups_of(self, items: Sequence[MetricRow]) -> Collection[int]:  # noqa: ARG002 - only the file has groups
        return ()

    def windows_of(self, items: Sequence[MetricRow]) -> list[Window]:
        return [Window(row.window_start, row.window_end, row.product_id) for row in items]

    def window_ends_of(self, items: Sequence[MetricRow]) -> set[float]:
        return {row.window_end for row in items}

    async def acquire(self) -> bool:
        """Take the lease, and increment the epoch; raises ``OtherTopicError`` before it changes another topic's database."""
        if self._epoch is None:
            if self._session is None:
                self._session = await self._call(self._database.connect())
            self._check(await self._call(self._session.identity()), self._identity)
            self._epoch = await self._call(self._session.take_over(self._owner, LEASE_S))
            self._renewed_s = self._monotonic_s()
        return self._epoch is not None

    async def open(self, cluster_id: str) -> Mapping[int, Position]:
        session, epoch = self._owned()
        identity = self._identity._replace(cluster_id=cluster_id)
        found = await self._call(session.identity())
        self._check(found, identity)
        if found is None:
            await self._call(session.adopt(epoch, identity))
        self._identity = identity  # for acquire(): the cluster may have been replaced since the start
        positions = await self._call(session.progress())
        self._offsets = {partition: position.next_offset for partition, position in positions.items()}
        self._size_bytes = await self._call(session.size_bytes())
        return positions

    async def start_over(self, reason: str) -> None:
        """Always raises: a database is rebuilt by an explicit command only."""
        await self.close()
        raise OtherTopicError(
            f"the database's metrics are not those of {self._identity.topic!r} as it is now: {reason}"
        )

    async def write(self, items: Sequence[MetricRow], positions: Mapping[int, Position]) -> Sequence[str]:
        session, epoch = self._owned()
        due = self._monotonic_s() - self._renewed_s >= _RENEW_EVERY_S
        left_out: Sequence[MetricRow] = ()
        began_s = self._monotonic_s()
        if positions:
            moves = [Move(number, self._offsets.get(number), position) for number, position in positions.items()]
            # Sorted by the primary key, since inserting adjacent keys into an index is faster.
            left_out = await self._call(session.write(epoch, sorted(items), moves))
            self._offsets |= {move.partition: move.after.next_offset for move in moves}
        elif due:
            await self._call(session.renew(epoch))
        else:
            return ()
        self._renewed_s = began_s
        if due:
            self._size_bytes = await self._call(session.size_bytes())
        return [f"{row}: the database has this product and window already" for row in left_out]

    def status(self) -> Mapping[str, object]:
        return {"database": str(self._database), "epoch": self._epoch, "bytes": self._size_bytes}

    async def close(self) -> None:
        """Release the lease, so that another sink need not wait for its expiry."""
        session, epoch = self._session, self._epoch
        self._session = self._epoch = None
        if session is None:
            return
        try:
            if epoch is not None:
                async with asyncio.timeout(_STOPPING_S):
                    await session.release(epoch)
        except (PipelineError, TimeoutError):
            pass  # the lease expires by itself
        finally:
            await session.close()

    def _owned(self) -> tuple[Session, int]:
        assert self._session is not None, "acquire first"
        assert self._epoch is not None, "acquire first"
        return self._session, self._epoch

    def _check(self, found: Identity | None, expected: Identity) -> None:
        if found is not None and found != expected:
            raise OtherTopicError(
                f"the database {self._database} holds the metrics of topic {found.topic!r} of cluster "
                f"{found.cluster_id!r}, not those of {expected.topic!r} of {expected.cluster_id!r}"
            )

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; after any error the session is closed, and the cached progress dropped."""
        try:
            return await self._within_limits(work)
        except FencedError as error:
            await self._give_up()
            raise WriterDisplacedError(str(error)) from error
        except ProgressMovedError as error:
            await self._give_up()
            raise OutputChangedError(str(error)) from error
        except DatabaseUnavailableError as error:
            await self._give_up()
            raise OutputUnavailableError(f"{self._database}: {error}") from error
        except BaseException:
            await self._give_up()
            raise

    async def _within_limits(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stopping}, timeout=_CALL_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and stopping.done():
                await asyncio.wait({task}, timeout=_STOPPING_S)
            if task.done():
                return task.result()
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_STOPPING_S)
        raise DatabaseUnavailableError("no answer from the database")

    async def _give_up(self) -> None:
        session, self._session, self._epoch = self._session, None, None
        if session is not None:
            await session.close()
