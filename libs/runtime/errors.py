"""The exceptions of the runtime, in one tree."""

START_OVER = (
    "start over: with all services stopped, delete the output topics and the group's offsets (the order pipeline: "
    "`make recompute`)"
)
"""Advice for what only processing the source topic from its beginning mends."""


class PipelineError(Exception):
    """Base of everything the pipeline raises on purpose. ``advice`` tells the reader what to do about it."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


def described(error: BaseException) -> str:
    """``error`` for a log line: its message and its advice, if it has one."""
    if isinstance(error, PipelineError):
        return f"{error} ({error.advice})" if error.advice else str(error)
    return repr(error)


class SettingsError(PipelineError):
    """A setting cannot be used; the message names setting, value and what is allowed."""


class TopicMismatchError(PipelineError):
    """A topic exists, but not as declared."""


class TopicRefusedError(PipelineError):
    """The broker will not create a topic, or will not let this client use it."""


class TopicMissingError(PipelineError):
    """A topic has been deleted under a running service."""


class BrokerLoginError(PipelineError):
    """The broker rejects this client, or this client the broker: a wrong password, certificate or protocol."""


class TokenEndpointError(BrokerLoginError):
    """The token endpoint cannot be used as it is configured; it has not rejected this client."""


class MissingRightError(PipelineError):
    """The cluster's ACLs do not give this client a right that it needs; the message names it."""


class BatchTooLargeError(PipelineError):
    """The broker rejects a record batch because of its size."""


class RetriesExhaustedError(PipelineError):
    """An operation failed again and again, and no retry is left."""


class OffsetMismatchError(PipelineError):
    """The group's committed offset is not the one that this stage committed last."""


class StateBehindError(OffsetMismatchError):
    """The restored state belongs to an earlier offset than the committed one."""


class OutdatedAnswerError(PipelineError):
    """A broker's answer contradicts what was committed before, and may be outdated."""


class SettingChangedError(PipelineError):
    """A setting that state and outputs depend on has changed."""


class NotAMemberError(PipelineError):
    """This replica is no longer a member of its group; other members have its partitions."""


class AnswerLostError(PipelineError):
    """The broker did not respond to a request. It may have processed the request, or may still do so."""


class TransactionFencedError(PipelineError):
    """The transaction was ended by a successor, or by the coordinator after its timeout."""


class TransactionTimeoutError(PipelineError):
    """A transaction took longer than the coordinator keeps it open."""


class StuckConsumerError(PipelineError):
    """The broker answers, but the consumer has stopped receiving."""
