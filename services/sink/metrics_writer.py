"""The interface of an output, which has to contain each metric exactly once after any crash."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from libs.runtime.errors import PipelineError
from services.sink.record_batcher import Position

Item = TypeVar("Item")


class OutputUnavailableError(PipelineError):
    """The output cannot be written to now, for example because the disk is full. Nothing is lost; ``open`` again later."""


class OutputChangedError(PipelineError):
    """Another program has deleted or changed the output. ``open`` again."""


class WriterDisplacedError(PipelineError):
    """This process may no longer be the only writer. ``acquire`` again."""


class Window(NamedTuple):
    """A metric's product and window; None where it has none. Times in epoch seconds."""

    window_start: object
    window_end: object
    product_id: object


class MetricsWriter(Protocol[Item]):
    """Writes metrics together with the positions in the topic, both or neither.

    The calls are made from one task. After any exception the writer has to be acquired and opened again.
    """

    @property
    def kind(self) -> str:
        """The kind of output: one of a small closed set, suitable as a metric label."""
        ...

    @property
    def size_bytes(self) -> int:
        """The size of the output when it was last checked."""
        ...

    def parse(self, values: Sequence[bytes | None]) -> Sequence[Item]:
        """The item to write for each record's value; raises ``ValueError`` if one of them is not a metric."""
        ...

    def groups_of(self, items: Sequence[Item]) -> Collection[int]:
        """The groups that ``items`` belong to; one ``write`` gets items of one group at most."""
        ...

    def windows_of(self, items: Sequence[Item]) -> Sequence[Window]:
        """The product and window of each of ``items``."""
        ...

    def window_ends_of(self, items: Sequence[Item]) -> Collection[float]:
        """The distinct window ends of ``items``, in epoch seconds."""
        ...

    async def acquire(self) -> bool:
        """Become the only writer; returns False while another process is."""
        ...

    async def open(self, cluster_id: str) -> Mapping[int, Position]:
        """Bring the output to its last consistent state.

        Returns:
            The next position of each partition that has been written; the others are read from their beginning.
        """
        ...

    async def start_over(self, reason: str) -> None:
        """The output does not belong to the current topic: begin a new one and keep the old, or raise."""
        ...

    async def write(self, items: Sequence[Item], positions: Mapping[int, Position]) -> Sequence[str]:
        """Write ``items`` and ``positions`` durably together. An empty batch checks that the output is unchanged.

        Returns:
            Descriptions of the items that could not be written because the output already has another one in their place.
        """
        ...

    def status(self) -> Mapping[str, object]:
        """The output's fields in the periodic log line."""
        ...

    async def close(self) -> None:
        """Release all resources; the written data is kept."""
        ...
