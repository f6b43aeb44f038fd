"""The errors of local mode."""

from libs.runtime.errors import PipelineError


class LocalModeError(PipelineError):
    """Local mode cannot continue; the message says why, and ``advice`` how to fix it."""


class PortTakenError(LocalModeError):
    """Another program listens on a port that local mode needs."""


class SilentSupervisorError(LocalModeError):
    """The pipeline's supervisor runs, but does not answer."""


class EndedElsewhereError(LocalModeError):
    """Another command has stopped the pipeline that is shown, or that is starting."""

    def __init__(self) -> None:
        super().__init__("the pipeline was stopped from elsewhere")
