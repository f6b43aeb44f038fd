"""How large a transaction may become."""

import math

import structlog

from libs.runtime.timing import TRANSACTION_TIMEOUT_MS

log = structlog.get_logger()

# Two transactions are in memory. Without this limit, 300 ms of records on a fast machine exceed a container's memory.
MAX_RECORDS = 60_000
MAX_BYTES = 16 * 1024 * 1024
_SMALLEST_SHARE = 1 / 256
# Each step is large enough to show whether the time follows the size. Both together are more than 1: times that are long at random
# look as if they followed in half of the cases.
_SMALLER, _LARGER = 0.8, 1.3

TARGET_S = TRANSACTION_TIMEOUT_MS / 1000 / 3
"""How long writing a transaction may take before the next ones are made smaller."""


class TransactionSize:
    """Limits transactions to what fits into memory, and can be written well within the transaction timeout.

    A client quota or a slow connection may let through less than ``MAX_BYTES`` in that time. The coordinator would abort such a
    transaction, and the next attempt would fill the same one. Commits may also take long whatever their size. Then smaller transactions
    would only write less.
    """

    def __init__(self) -> None:
        self._share = 1.0
        self._slow = (math.inf, math.inf)  # share and seconds of the last transaction that was written slowly

    @property
    def max_records(self) -> int:
        return int(MAX_RECORDS * self._share)

    @property
    def max_bytes(self) -> int:
        return int(MAX_BYTES * self._share)

    def committed(self, records: int, size_bytes: int, seconds: float) -> None:
        """A transaction of this size took so long to be written and committed."""
        used = _share_of(records, size_bytes)
        if seconds > TARGET_S and self._time_follows_size(used, seconds) and used > _SMALLEST_SHARE:
            self._limit_to(used * _SMALLER)
        elif 2 * used >= self._share:
            self._share = min(_LARGER * self._share, 1.0)

    def _time_follows_size(self, used: float, seconds: float) -> bool:
        """Whether the duration is proportional to the size, judged by this slow transaction and the previous one.

        If it is, the ratio of the durations is the ratio of the sizes; if not, it is 1. The geometric mean of the two is the limit between
        them. Sizes that differ by less than a tenth show nothing; then the duration counts as proportional.
        """
        before, seconds_before = self._slow
        self._slow = (used, seconds)
        change = used / before
        return 0.9 < change < 1.1 or (seconds / seconds_before > math.sqrt(change)) == (change > 1)

    def failed(self, records: int, size_bytes: int, seconds: float) -> None:
        """The commit of a transaction of this size has failed after this time."""
        used = _share_of(records, size_bytes)
        if seconds > TARGET_S and used > _SMALLEST_SHARE:
            self._limit_to(used / 4)
            log.warning(
                "the next transactions are smaller, since this one was not written in time",
                seconds=round(seconds, 1),
                max_bytes=self.max_bytes,
                advice="if it happens again without an outage: a quota (producer_byte_rate) or the connection allows less than what comes",
            )

    def _limit_to(self, share: float) -> None:
        self._share = max(min(self._share, share), _SMALLEST_SHARE)


def _share_of(records: int, size_bytes: int) -> float:
    return max(max(records, 1) / MAX_RECORDS, size_bytes / MAX_BYTES)
