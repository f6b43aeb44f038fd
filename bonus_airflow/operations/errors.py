"""What can go wrong between a DAG and the pipeline, in one tree."""

from collections.abc import Sequence


class OperationError(Exception):
    """Base of everything that DAG code raises on purpose; the message is written for the reader of a task's log."""


class CommandError(OperationError):
    """One of the project's commands failed; ``exit_code`` is None when it did not end by itself, or never started."""

    def __init__(self, command: Sequence[str], exit_code: int | None, output: str) -> None:
        self.command = list(command)
        self.exit_code = exit_code
        self.output = output
        ended = "failed" if exit_code is None else f"ended with exit code {exit_code}"
        super().__init__(f"`{' '.join(command)}` {ended}:\n{output}")

    @property
    def last_line(self) -> str:
        """Of the output: most programs say there why they failed."""
        return self.output.strip().rpartition("\n")[2]


class PipelineUnwellError(OperationError):
    """Something is wrong with a running pipeline; the message says what, since when, and what was tried."""


class SourcesDifferError(OperationError):
    """A report was made, and its sources do not say the same: to try again changes nothing."""
