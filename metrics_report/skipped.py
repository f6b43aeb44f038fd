"""Counts the records of a source that are not metrics."""


class Skipped:
    """The number of records that are not metrics; reported, and not in the sums."""

    count = 0
