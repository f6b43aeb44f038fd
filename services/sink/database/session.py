"""What a database has to do for the sink, and the errors that it may answer with."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from libs.events.product_metrics import MetricRow
from libs.runtime.errors import PipelineError
from services.sink.topic_reader import Position


class DatabaseUnavailableError(PipelineError):
    """The database cannot be used now, or the connection to it was lost; trying again later may help."""


class DatabaseRefusedError(PipelineError):
    """The database answers something that waiting does not mend."""


class FencedError(PipelineError):
    """Another sink has taken over: the epoch is no longer ours. Nothing was written."""


class ProgressMovedError(PipelineError):
    """The database is not where this sink left it. Nothing was written."""


class Identity(NamedTuple):
    """Whose metrics a database holds."""

    cluster_id: str
    topic: str


class Move(NamedTuple):
    """A partition that goes on from ``before`` (None: nothing was written of it yet) to ``after``."""

    partition: int
    before: int | None
    after: Position


class Session(Protocol):
    """One connection to a database whose schema is up to date.

    Every call is one transaction, and raises ``DatabaseUnavailableError`` when it is not known to have been committed:
    it may have been all the same. After any error the session has to be closed.
    """

    async def identity(self) -> Identity | None:
        """Whose metrics it holds; None when it is empty."""
        ...

    async def take_over(self, owner: str, lease_s: float) -> int | None:
        """Become the one writer, and return the new epoch; None while another owner was alive within ``lease_s``.

        Whether one was is judged by the database's clock.
        """
        ...

    async def adopt(self, epoch: int, identity: Identity) -> None:
        """An empty database is this topic's from now on; raises ``FencedError``."""
        ...

    async def progress(self) -> Mapping[int, Position]:
        """Where each partition goes on of which something was written."""
        ...

    async def write(self, epoch: int, rows: Sequence[MetricRow], moves: Sequence[Move]) -> Sequence[MetricRow]:
        """Put ``rows`` in and make ``moves``, both or neither; also renews the lease.

        Returns:
            The rows whose product and window are in the table already; what stands there stays.

        Raises:
            FencedError: another sink has taken over since ``epoch``.
            ProgressMovedError: a partition does not stand where its move begins.
        """
        ...

    async def renew(self, epoch: int) -> None:
        """Stay the owner for another lease; raises ``FencedError``."""
        ...

    async def release(self, epoch: int) -> None:
        """Let another sink take over at once; nothing happens if one has."""
        ...

    async def clear(self) -> None:
        """Delete all metrics and all that is known of them, and displace whoever writes."""
        ...

    async def size_bytes(self) -> int:
        """What the metrics take."""
        ...

    async def close(self) -> None:
        """End the connection; raises nothing."""
        ...


class Database(Protocol):
    """Where sessions come from."""

    def __str__(self) -> str:
        """Its address, without secrets."""
        ...

    async def connect(self) -> Session:
        """Connect, and create or migrate the schema.

        Raises:
            DatabaseUnavailableError: it does not answer, or not now.
            DatabaseRefusedError: it can never be used as things are.
            SchemaError: its schema is a later sink's.
        """
        ...
