"""The interface of a fuzz target."""

from typing import NamedTuple, Protocol


class Tally(NamedTuple):
    """The results of the inputs of one batch."""

    accepted: int = 0
    refused: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(self.accepted + other.accepted, self.refused + other.refused)

    @property
    def inputs(self) -> int:
        return self.accepted + self.refused


class Target(Protocol):
    """A reader of external input, with an oracle for its results."""

    def batch(self) -> Tally:
        """Feed some inputs.

        Raises:
            AssertionError: the reader's result for one of them differs from the oracle's.
            Exception: anything else is a crash.
        """
        ...
