"""What the sink asks of the place it writes to, so that a metric stands there exactly once after any crash."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from libs.runtime.errors import PipelineError
from services.sink.topic_reader import Position


class OutputUnavailableError(PipelineError):
    """The output cannot be written to now (a full disk, say). Nothing is lost; ``open`` again later."""


class OutputChangedError(PipelineError):
    """The output is not as the writer left it: somebody deleted or changed it. ``open`` again."""


class WriterDisplacedError(PipelineError):
    """This process may no longer be the only writer. ``acquire`` again."""


class MetricsWriter(Protocol):
    """Keeps metrics together with how far the topic has been read, so that both change at once or not at all.

    The calls block and are made from one task, each in a thread. After any exception the writer has to be opened again.
    """

    @property
    def kind(self) -> str:
        """What it is: one of a small closed set, fit for a metric label."""
        ...

    @property
    def length(self) -> int:
        """How much is written, in bytes."""
        ...

    def acquire(self) -> bool:
        """Become the one writer; False while another process is."""
        ...

    def open(self, cluster_id: str) -> Mapping[int, Position]:
        """Bring the output to its last consistent state.

        Returns:
            Where each partition goes on of which something was written; the others are read from their beginning.
        """
        ...

    def start_over(self, reason: str) -> None:
        """What was written does not belong to the topic as it is now: begin anew, and keep the old."""
        ...

    def write(self, lines: Sequence[bytes], positions: Mapping[int, Position]) -> None:
        """Make ``lines`` and ``positions`` durable together. An empty batch confirms that the output is as left."""
        ...

    def status(self) -> Mapping[str, object]:
        """What the periodic log line tells about the output."""
        ...

    def close(self) -> None:
        """Let go of everything; what was written stays."""
        ...
