"""What a source has that is no metric."""


class Skipped:
    """Counts what is no metric; it is told, and not added up."""

    count = 0
