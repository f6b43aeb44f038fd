"""What a service is to the runtime: which topics it joins, and the logic that runs for each partition."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka.structs import TopicPartition

from libs.runtime.metrics import StageMetrics
from libs.runtime.topics.creation import TopicSpec


@dataclass(frozen=True)
class Progress:
    """How far a partition has been read, and what the broker last said about its end.

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
    """What one transaction did."""

    def count(self, now_s: float) -> None:
        """Add it to the metrics: the transaction is visible since ``now_s``."""


class PartitionLogic(Protocol):
    """The logic of one input partition. It does no I/O, and is thrown away with its state on any error."""

    def restore(self, records: Sequence[Any]) -> None:
        """Take in changelog records, oldest first, before anything else."""

    def process(self, records: Sequence[Any], output: Any) -> None:
        """Take in a batch of input records."""

    def punctuate(self, progress: Progress) -> None:
        """Look at the clock; called after every read, and several times a second when there is nothing to read."""

    @property
    def state_offset(self) -> int | None:
        """The source offset that the restored state belongs to, None if the changelog names none."""

    def before_commit(self, output: Any, position: int) -> Tally:
        """Write what belongs at the end of a transaction; returns what the transaction did.

        ``position`` is the next offset to process, which is committed with it.

        The next transaction has an ``output`` of its own.
        """

    @property
    def urgent(self) -> bool:
        """Whether there is something that should not wait for the commit interval."""

    @property
    def watermark_s(self) -> float | None:
        """How far event time has come, in epoch seconds; None before it has begun."""

    @property
    def event_time_lag_s(self) -> float | None:
        """How far event time trails the arrival of the newest record, in seconds; None where that is not known."""

    @property
    def state_size(self) -> int:
        """The number of entries kept in memory."""


@dataclass(frozen=True)
class Stage:
    """A service that reads one topic exactly once."""

    name: str  # the group is named after it
    source: TopicSpec
    outputs: Sequence[TopicSpec]  # all that it writes, the main one first, the changelog too
    changelog: TopicSpec | None
    fetch_bytes: int  # of each partition at a time: what a backlog costs in memory
    batch_size: int
    commit_interval_ms: int
    metrics: StageMetrics
    depends_on: Mapping[str, int]  # settings that must not change, by name: the number of partitions, say
    accept_offsets: str | None  # the setting that accepts offsets of others; None: the changelog tells whether they fit
    offsets_accepted: bool
    logics: Callable[[Collection[TopicPartition]], Mapping[TopicPartition, PartitionLogic]]  # makes an attempt's logic
