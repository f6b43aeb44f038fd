"""The exceptions of the DAG code, in one tree."""

from collections.abc import Sequence


class OperationError(Exception):
    """Base of all exceptions that DAG code raises on purpose; the message is for the reader of a task's log."""


class CommandError(OperationError):
    """One of the project's commands failed; ``exit_code`` is None if it did not end by itself, or did not start.

    ``output`` is for a reader, and has standard error, too. ``stdout`` has what a program may parse, where it was kept separately.
    """

    def __init__(self, command: Sequence[str], exit_code: int | None, output: str, *, stdout: str = "") -> None:
        self.command = list(command)
        self.exit_code = exit_code
        self.output = output
        self.stdout = stdout
        ended = "failed" if exit_code is None else f"ended with exit code {exit_code}"
        super().__init__(f"`{' '.join(command)}` {ended}:\n{output}")

    @property
    def last_line(self) -> str:
        """The last line of the output, where most programs report their error."""
        return self.output.strip().rpartition("\n")[2]


class PipelineUnwellError(OperationError):
    """A running pipeline has a problem; the message says what, since when, and what was tried."""


class SpanError(OperationError):
    """A report's span is neither a day nor an hour; a retry does not help."""


class SourcesDifferError(OperationError):
    """A report was made, and its sources differ; a retry does not help."""
