"""How many metrics one write may have."""

import structlog

log = structlog.get_logger()

MOST_RECORDS = 20_000
"""So many take about 10 MB, and a database is no faster with more."""
_FEWEST_RECORDS = 500
_QUICK_S = 2.0


class WriteSize:
    """Halves the limit when a write fails, and doubles it while full ones are quick.

    A slow connection may take longer for ``MOST_RECORDS`` than the database waits, and the next attempt would write the same ones.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self.most_records = MOST_RECORDS

    def written(self, records: int, seconds: float) -> None:
        """So many were written in this time."""
        if 2 * records >= self.most_records and seconds < _QUICK_S:
            self.most_records = min(2 * self.most_records, MOST_RECORDS)

    def failed(self, records: int) -> None:
        """A write of ``records`` failed. A small write does not reduce the limit: its size was not the cause."""
        if records > _FEWEST_RECORDS:
            self.most_records = max(min(self.most_records, records) // 2, _FEWEST_RECORDS)
            log.info("the next writes are smaller", output=self._output, most_records=self.most_records)
