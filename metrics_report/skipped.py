"""What a source lacks, or has besides metrics."""

from dataclasses import dataclass

from verification.history import WHOLE, History


@dataclass
class Skipped:
    """What is not in the sums, and reported."""

    count: int = 0
    """Records that are not metrics."""
    history: History = WHOLE
    """Which metrics the topic may have lost by retention."""
