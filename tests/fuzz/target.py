"""What every fuzzed reader has in common."""

from typing import NamedTuple, Protocol


class Tally(NamedTuple):
    """How the inputs of one batch fared."""

    accepted: int = 0
    refused: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(self.accepted + other.accepted, self.refused + other.refused)

    @property
    def inputs(self) -> int:
        return self.accepted + self.refused


class Target(Protocol):
    """One reader of what comes from outside, with an oracle for what it has to make of it."""

    def batch(self) -> Tally:
        """Feed some inputs.

        Raises:
            AssertionError: the reader did something else with one of them than the oracle says.
            Exception: anything else is a crash.
        """
        ...
