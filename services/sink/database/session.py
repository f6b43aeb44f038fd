"""The interface of a database for the sink, and its errors."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from libs.events.product_metrics import MetricRow
from libs.runtime.errors import PipelineError
from services.sink.record_batcher import Position

REBUILD = "python -m services.sink.rebuild_database"
REBUILD_LOSES = "what the topic no longer has (retention.ms) is lost: dump the table first"


class DatabaseUnavailableError(PipelineError):
    """The database is unavailable, or the connection was lost; a later retry may help."""


class DatabaseRefusedError(PipelineError):
    """The database reports an error that a retry does not fix."""


class OwnerMissingError(DatabaseRefusedError):
    """The row that says who writes was deleted."""

    def __init__(self) -> None:
        super().__init__(
            "the table sink_owner is empty: its row was deleted from outside",
            advice=f"`{REBUILD}` (same settings) empties the database, and the sink then fills it from the topic's beginning; "
            f"{REBUILD_LOSES}",
        )


class FencedError(PipelineError):
    """Another sink has taken over: the epoch has changed. Nothing was written."""


class ProgressMovedError(PipelineError):
    """The positions in the database are not the ones that this sink wrote. Nothing was written."""


class Identity(NamedTuple):
    """The cluster and topic whose metrics a database has."""

    cluster_id: str
    topic: str


class Move(NamedTuple):
    """A change of a partition's position from ``before`` (None: nothing has been written of it yet) to ``after``."""

    partition: int
    before: int | None
    after: Position


class Session(Protocol):
    """One connection to a database whose schema is up to date.

    Every call is one transaction. It raises ``DatabaseUnavailableError`` if the outcome of the commit is unknown: it may have
    succeeded. After any error the session has to be closed.
    """

    async def identity(self) -> Identity | None:
        """The cluster and topic of its metrics; None if it is empty."""
        ...

    async def take_over(self, owner: str, lease_s: float) -> int | None:
        """Become the only writer, and return the new epoch; None if another owner was active within ``lease_s``.

        The time is measured by the database's clock. If that is set back, a time of activity that is more than ``lease_s`` ahead of it
        does not count: an owner that is alive has renewed its lease since.

        Raises:
            OwnerMissingError: the row of the owner was deleted.
        """
        ...

    async def adopt(self, epoch: int, identity: Identity) -> None:
        """Assign an empty database to this cluster and topic; raises ``FencedError``."""
        ...

    async def progress(self) -> Mapping[int, Position]:
        """The next position of each partition that has been written."""
        ...

    async def write(self, epoch: int, rows: Sequence[MetricRow], moves: Sequence[Move]) -> Sequence[MetricRow]:
        """Insert ``rows`` and apply ``moves``, both or neither; also renews the lease.

        Returns:
            The rows whose product and window are already in the table; those in the table are kept.

        Raises:
            FencedError: another sink has taken over since ``epoch``.
            ProgressMovedError: a partition's position is not the ``before`` of its move.
        """
        ...

    async def renew(self, epoch: int) -> None:
        """Renew the lease; raises ``FencedError``."""
        ...

    async def release(self, epoch: int) -> None:
        """Release the lease, so that another sink can take over at once; does nothing if one already has."""
        ...

    async def clear(self) -> None:
        """Delete all metrics and positions, and fence the current writer; makes the owner's row anew if it was deleted."""
        ...

    async def window_starts(self) -> tuple[int, int] | None:
        """The starts of the oldest and the newest window in the table, in epoch seconds; None if it is empty."""
        ...

    async def size_bytes(self) -> int:
        """The size of the metrics."""
        ...

    async def close(self) -> None:
        """Close the connection; raises nothing."""
        ...


class Database(Protocol):
    """Creates sessions."""

    def __str__(self) -> str:
        """Its address, without secrets."""
        ...

    async def connect(self) -> Session:
        """Connect, and create or migrate the schema.

        Raises:
            DatabaseUnavailableError: it is unavailable.
            DatabaseRefusedError: it cannot be used, and waiting does not change that.
            SchemaError: a newer sink has migrated its schema.
        """
        ...
