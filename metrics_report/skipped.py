"""What a source lacks, or has besides metrics."""

import math


class Skipped:
    """What is not in the sums, and reported.

    ``count`` is the number of records that are not metrics; ``missing_until_s`` the latest end, in epoch seconds, of a window whose
    metric the topic may have lost by retention.
    """

    count = 0
    missing_until_s = -math.inf
