"""What a source lacks, or has besides metrics."""

import math
from dataclasses import dataclass


@dataclass
class Skipped:
    """What is not in the sums, and reported."""

    count: int = 0
    """Records that are not metrics."""
    missing_until_s: float = -math.inf
    """The latest end, in epoch seconds, of a window whose metric the topic may have lost by retention."""
