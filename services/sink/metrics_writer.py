"""What the sink asks of a place it writes to, so that a metric stands there exactly once after any crash."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from libs.runtime.errors import PipelineError
from services.sink.topic_reader import Position

Item = TypeVar("Item")


class OutputUnavailableError(PipelineError):
    """The output cannot be written to now (a full disk, say). Nothing is lost; ``open`` again later."""


class OutputChangedError(PipelineError):
    """The output is not as the writer left it: somebody deleted or changed it. ``open`` again."""


class WriterDisplacedError(PipelineError):
    """This process may no longer be the only writer. ``acquire`` again."""


class Window(NamedTuple):
    """Of which product and window a metric is; None where it does not say. Times in epoch seconds."""

    window_start: object
    window_end: object
    product_id: object


class MetricsWriter(Protocol[Item]):
    """Keeps metrics together with how far the topic has been read, so that both change at once or not at all.

    The calls are made from one task. After any exception the writer has to be acquired and opened again.
    """

    @property
    def kind(self) -> str:
        """What it is: one of a small closed set, fit for a metric label."""
        ...

    @property
    def size_bytes(self) -> int:
        """How large the output is, as last looked at."""
        ...

    def parse(self, values: Sequence[bytes | None]) -> Sequence[Item]:
        """What is written for the values of records, one for each; raises ``ValueError`` when one of them is no metric."""
        ...

    def groups_of(self, items: Sequence[Item]) -> Collection[int]:
        """The groups that ``items`` belong to; a ``write`` takes items of one group at most."""
        ...

    def windows_of(self, items: Sequence[Item]) -> Sequence[Window]:
        """Of which product and window each of ``items`` is."""
        ...

    def window_ends_of(self, items: Sequence[Item]) -> Collection[float]:
        """The ends of the windows of ``items``, each once, in epoch seconds."""
        ...

    async def acquire(self) -> bool:
        """Become the one writer; False while another process is."""
        ...

    async def open(self, cluster_id: str) -> Mapping[int, Position]:
        """Bring the output to its last consistent state.

        Returns:
            Where each partition goes on of which something was written; the others are read from their beginning.
        """
        ...

    async def start_over(self, reason: str) -> None:
        """What was written does not belong to the topic as it is now: begin anew and keep the old, or raise."""
        ...

    async def write(self, items: Sequence[Item], positions: Mapping[int, Position]) -> Sequence[str]:
        """Make ``items`` and ``positions`` durable together. An empty batch confirms that the output is as left.

        Returns:
            The items that have no place in the output, each described.
        """
        ...

    def status(self) -> Mapping[str, object]:
        """What the periodic log line tells about the output."""
        ...

    async def close(self) -> None:
        """Let go of everything; what was written stays."""
        ...
