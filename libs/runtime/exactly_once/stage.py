"""A stage as a pipeline declares it: the topics that it connects, and the logic that runs for each partition."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.consumers import FETCH_BYTES
from libs.runtime.metrics import StageMetrics
from libs.runtime.records import Output, Record
from libs.runtime.topics.topic import Topic

# The event loop, and with it heartbeats, is blocked while a batch is processed: for a few milliseconds.
BATCH_SIZE = 500


@dataclass(frozen=True)
class Progress:
    """How far a partition has been read, and its end according to the broker.

    ``position`` and ``end_offset`` are the offsets of the next record to read and to be written; ``confirmed_at_s`` is
    when the broker last confirmed the end, in epoch seconds. ``source_started`` says whether any partition of the
    source topic has ever had a record, ``quiet_since_s`` since when none has got one, None where that is not known.
    """

    position: int
    end_offset: int | None
    confirmed_at_s: float | None
    source_started: bool
    quiet_since_s: float | None = None


class Tally(Protocol):
    """The results of one transaction for a partition, to be counted if it is committed."""

    def count(self, now_s: float) -> None:
        """Add the results to the metrics: the transaction was committed at ``now_s``."""


class PartitionLogic(Protocol):
    """The logic of one input partition. It does no I/O, and is discarded with its state after any error.

    A subclass must implement ``process``. The other members have defaults that fit a stage without state and event time.
    """

    def restore(self, records: Sequence[Record]) -> None:  # noqa: ARG002 - a default
        """Restore state from changelog records, oldest first, before any other call. A record without value is a tombstone."""
        return

    @property
    def state_offset(self) -> int | None:
        """The source offset that the restored state belongs to, None if the changelog has none."""
        return None

    @abstractmethod
    def process(self, records: Sequence[Record], output: Output) -> None:
        """Process a batch of input records, in the order of their offsets, and write to ``output``.

        An exception aborts the transaction: processing restarts from the last commit, with new logic.
        """

    def punctuate(self, progress: Progress) -> None:  # noqa: ARG002 - a default
        """Act on the passing of time; called after every read, and several times a second when there is nothing to read.

        Without a record for a minute, once in two seconds is enough, unless logic ``waits_for_clock``.
        """
        return

    def before_commit(self, output: Output, position: int) -> Tally | None:  # noqa: ARG002 - a default
        """Write the last records of a transaction, such as state changes; returns what is to be counted.

        ``position`` is the next offset to process, which is committed with it. The next transaction has an ``output`` of
        its own.
        """
        return None

    @property
    def pending_records(self) -> int:
        """The number of records that ``before_commit`` is going to write: they count for how large a transaction may become."""
        return 0

    @property
    def urgent(self) -> bool:
        """Whether there is output that should not wait for the commit interval."""
        return False

    @property
    def waits_for_clock(self) -> bool:
        """Whether time alone, without a new record, may still change something. If so, ``punctuate`` is called frequently."""
        return False

    @property
    def watermark_s(self) -> float | None:
        """The watermark, in epoch seconds; None before the first one."""
        return None

    @property
    def event_time_lag_s(self) -> float | None:
        """How far event time is behind the arrival of the newest record, in seconds; None if that is not known."""
        return None

    @property
    def state_size(self) -> int:
        """The number of entries kept in memory."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A service that reads one topic exactly once.

    Args:
        name: names the consumer group and the transactional ids, after the ``TOPIC_PREFIX`` setting.
        source: the topic that is read.
        outputs: all topics that are written, the main one first, the changelog too.
        logics: creates the logic of each given partition; called again for each attempt.
        metrics: updated by the engine.
        depends_on: settings that state and outputs depend on, by name; if one has changed, the stage does not start.
        changelog: the compacted topic that state is restored from; None for a stage without state.
        accept_offsets: for a stage without a changelog, the name of the setting that accepts committed offsets which the
            stage has not committed itself; None: they are not checked, since the changelog shows whether they match.
        offsets_accepted: that setting's value.
        independent_partitions: whether one partition may be read far ahead of others: its logic does not depend on how far they
            have been read, for example by a watermark that they share. A backlog is then read two partitions at a time.
        fetch_bytes: fetched of each partition at a time; a backlog costs so much memory for each.
        batch_size: the most records that ``PartitionLogic.process`` gets at a time.
        commit_interval_ms: how long a transaction collects records; three times as long in a backlog.
        fetch_interval_ms: how far apart fetches of few records are at most, unless the commit interval is shorter.
    """

    name: str
    source: Topic
    outputs: Sequence[Topic]
    logics: Callable[[Collection[TopicPartition]], Mapping[TopicPartition, PartitionLogic]]
    metrics: StageMetrics
    depends_on: Mapping[str, int]
    changelog: Topic | None = None
    accept_offsets: str | None = None
    offsets_accepted: bool = False
    independent_partitions: bool = False
    fetch_bytes: int = FETCH_BYTES
    batch_size: int = BATCH_SIZE
    commit_interval_ms: int = 100
    fetch_interval_ms: int = 70

    @property
    def fetches_apart_s(self) -> float:
        """How far apart fetches of few records are at most, in seconds."""
        return min(self.fetch_interval_ms, self.commit_interval_ms) / 1000
