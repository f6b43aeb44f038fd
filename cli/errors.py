"""Errors of the command itself."""

from libs.runtime.errors import PipelineError


class UsageError(PipelineError):
    """The command line makes no sense; nothing was done."""


class NoPipelineError(PipelineError):
    """No pipeline was named, and none was found."""
