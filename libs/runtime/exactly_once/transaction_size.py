"""How large a transaction may become."""

import structlog

from libs.runtime.timing import TRANSACTION_TIMEOUT_MS

log = structlog.get_logger()

# Two transactions are in memory. Without this limit, 300 ms of records on a fast machine exceed a container's memory.
MAX_RECORDS = 60_000
MAX_BYTES = 16 * 1024 * 1024
_SMALLEST_SHARE = 1 / 256
# Below this one a transaction that was written, if slowly, is not made smaller: it may be slow for another reason than its size.
_SMALLEST_SHARE_WRITTEN = 1 / 16

TARGET_S = TRANSACTION_TIMEOUT_MS / 1000 / 3
"""How long writing a transaction may take before the next ones are made smaller."""


class TransactionSize:
    """Limits transactions to what fits into memory, and can be written well within the transaction timeout.

    A client quota or a slow connection may let through less than ``MAX_BYTES`` in that time. The coordinator would abort such a
    transaction, and the next attempt would fill the same one.
    """

    def __init__(self) -> None:
        self._share = 1.0

    @property
    def max_records(self) -> int:
        return int(MAX_RECORDS * self._share)

    @property
    def max_bytes(self) -> int:
        return int(MAX_BYTES * self._share)

    def committed(self, records: int, size_bytes: int, seconds: float) -> None:
        """A transaction of this size took so long to be written and committed."""
        used = _share_of(records, size_bytes)
        if seconds > TARGET_S and used > _SMALLEST_SHARE_WRITTEN:
            self._limit_to(max(used * TARGET_S / seconds, _SMALLEST_SHARE_WRITTEN))
        elif seconds < TARGET_S and 2 * used >= self._share:
            self._share = min(1.5 * self._share, 1.0)

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
    return max(records / MAX_RECORDS, size_bytes / MAX_BYTES)
