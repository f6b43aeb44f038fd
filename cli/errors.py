"""Errors of the command line."""

from libs.runtime.errors import PipelineError


class UsageError(PipelineError):
    """The command line is invalid; nothing was done."""


class NoPipelineError(PipelineError):
    """No pipeline was named, and none was found."""
