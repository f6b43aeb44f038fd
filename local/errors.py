"""What can go wrong on this machine."""

from libs.runtime.errors import PipelineError


class LocalModeError(PipelineError):
    """Local mode cannot go on; the message says why, and ``advice`` what to do."""


class PortTakenError(LocalModeError):
    """Another program listens on a port that local mode needs."""


class EndedElsewhereError(LocalModeError):
    """The pipeline that is shown was stopped by somebody else."""
