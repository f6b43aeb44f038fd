"""The offset at which reading a partition starts, in each attempt."""

import structlog

from libs.runtime.exactly_once.answer_confirmation import AnswerConfirmation

log = structlog.get_logger()


class StartOffset:
    """Chooses between the committed offset and the first one that the topic still has.

    A broker rejects a fetch beyond the end of its log. There are two causes. Either the broker has lost the leadership without knowing it,
    and the new leader's log is longer. Or the broker is the leader, and the topic has lost records; new records get, or will get, their
    offsets. With a single broker it is the second cause.
    """

    def __init__(self, confirmation: AnswerConfirmation | None = None) -> None:
        self._confirmation = confirmation or AnswerConfirmation()
        self._refused_at: int | None = None
        self._most_brokers = 0  # ever: metadata lists only those that are up
        self._lost_offset: int | None = None
        self.is_unconfirmed = False

    def out_of_range(self, position: int, brokers: int) -> None:
        """Note that one of so many brokers has refused to read at ``position``."""
        self.is_unconfirmed = True
        self._refused_at = position
        self._most_brokers = max(self._most_brokers, brokers)

    def committed(self) -> None:
        """Note that this attempt has committed an offset."""
        self._lost_offset = None

    def check(self, committed: int | None, first: int, end: int, brokers: int) -> None:
        """Decide whether the topic still has what is before the committed offset, if a broker has refused to read.

        Args:
            committed: the group's offset.
            first: the first offset that the topic still has.
            end: the topic's end, as a broker says.
            brokers: how many there are.

        Raises:
            OutdatedAnswerError: it seems not, but that is not certain yet.
        """
        self._most_brokers = max(self._most_brokers, brokers)
        if committed is None or committed == self._lost_offset:
            self._settle()
        elif end < committed:
            self.is_unconfirmed = True
            if self._most_brokers > 1:
                self._confirmation.raise_unless_confirmed(
                    f"the topic ends at {end}, before the committed offset {committed}"
                )
            self._lost_offset = committed
            self._settle()
        elif (
            self._refused_at is not None and self._refused_at < first
        ):  # its records were deleted before they were read
            self._settle()
        elif self.is_unconfirmed:
            if self._most_brokers == 1 and self._refused_at == committed:  # it has got new records since
                self._lost_offset = committed
            else:
                log.error(
                    "a broker has refused to read where the topic goes on",
                    committed_offset=committed,
                    end_offset=end,
                    advice="nothing is missing if that broker had lost the leadership; if the leader has lost acknowledged records, or the "
                    "topic was created again, new records may be missing as well",
                )
            self._settle()

    def choose(self, committed: int | None, first: int) -> int:
        """The offset to start at, if the topic's first record has the offset ``first``."""
        if committed != self._lost_offset:  # there was a commit since
            self._lost_offset = None
        if committed is not None and committed < first:
            log.error(
                "records were deleted before they were read",
                committed_offset=committed,
                first_offset=first,
                advice="keep records longer than the longest outage: raise retention.ms of the topic, and the brokers' "
                "offsets.retention.minutes with it",
            )
        elif committed is not None and committed == self._lost_offset:
            log.error(
                "the topic ends before the committed offset: reading it from its beginning",
                committed_offset=committed,
                first_offset=first,
                advice="the topic was deleted and created again, or the broker has lost its end; records may then count twice",
            )
            committed = None
        elif committed is None and first > 0:
            log.warning(
                "nothing is committed, and the topic's oldest records are gone: reading from its first record",
                first_offset=first,
                advice="expected for a pipeline that is new to this topic; otherwise its offsets have expired "
                "(offsets.retention.minutes of the brokers), and what was processed before is processed again",
            )
        return max(first, committed or 0)

    def _settle(self) -> None:
        self.is_unconfirmed = False
        self._refused_at = None
        self._confirmation.clear()


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
