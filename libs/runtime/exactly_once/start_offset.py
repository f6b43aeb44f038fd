"""The offset at which reading a partition starts, in each attempt."""

import structlog

from libs.runtime.exactly_once.doubt import Doubt

log = structlog.get_logger()


class StartOffset:
    """Chooses between the committed offset and the first one that the topic still has."""

    def __init__(self, doubt: Doubt | None = None) -> None:
        self._doubt = doubt or Doubt()
        self.is_out_of_range = False

    def out_of_range(self) -> None:
        """Note that a broker has refused to read on: it ends before the position."""
        self.is_out_of_range = True

    def choose(self, committed: int | None, first: int, end: int = 0) -> int:
        """The offset to start at.

        Args:
            committed: the group's offset.
            first: the offset of the topic's first record.
            end: the topic's end; needed only if ``is_out_of_range``.

        Raises:
            OutdatedAnswerError: it is not certain yet that the topic ends before the committed offset.
        """
        if committed is None or committed < first or committed <= end:
            self._in_range()
        if committed is not None and committed < first:
            log.error(
                "records were deleted before they were read",
                committed_offset=committed,
                first_offset=first,
                advice="keep records longer than the longest outage: raise retention.ms of the topic, and the brokers' "
                "offsets.retention.minutes with it",
            )
        elif committed is not None and self.is_out_of_range:
            self._doubt.raise_unless_confirmed(f"the topic ends at {end}, before the committed offset {committed}")
            log.error(
                "the topic ends before the committed offset: reading it from its beginning",
                committed_offset=committed,
                first_offset=first,
                advice="the topic was deleted and created again, or the broker has lost its end; records may then count twice",
            )
            self._in_range()
            committed = None
        elif committed is None and first > 0:
            log.warning(
                "nothing is committed, and the topic's oldest records are gone: reading from its first record",
                first_offset=first,
                advice="expected for a pipeline that is new to this topic; otherwise its offsets have expired "
                "(offsets.retention.minutes of the brokers), and what was processed before is processed again",
            )
        return max(first, committed or 0)

    def _in_range(self) -> None:
        self.is_out_of_range = False
        self._doubt.clear()


def compare_with_state(committed: int | None, changelog: str, changelog_records: int) -> None:
    """Log a warning if only one of the two exists: both are written in the same transactions."""
    if committed and not changelog_records:
        log.error(
            "the state is gone",
            committed_offset=committed,
            advice=f"{changelog} was deleted, or deleted and created again; what was counted and not yet written is lost",
        )
    elif changelog_records and committed is None:
        log.error(
            "the committed offset is gone",
            changelog_records=changelog_records,
            advice="the topic is read from its beginning, and records that were read before may count twice: offsets.retention.minutes of the "
            "brokers is too short, or the offset or its topic was deleted",
        )
