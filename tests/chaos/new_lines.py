"""The log lines of a stack's services since a moment, as evidence that a fault has had its effect."""

from tests.chaos.stack import Stack


class NewLines:
    """The log lines of all replicas since this was created, also of replicas that are restarted or added later."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._begins = {each.process.log: each.process.log.stat().st_size for each in stack.replicas}

    def contain(self, text: str) -> bool:
        """Whether there is ``text``, which needs no escape in JSON."""
        logs = [each.process.log for each in self._stack.replicas]
        return any(text.encode() in log.read_bytes()[self._begins.get(log, 0) :] for log in logs)
