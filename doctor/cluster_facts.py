"""What was seen of a cluster and of the pipeline's topics in it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Partition:
    """``leader`` is None while there is none."""

    number: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True)
class TopicFacts:
    """``config`` is None where this client may not see it."""

    name: str
    partitions: tuple[Partition, ...]
    config: Mapping[str, str] | None

    @property
    def replication_factor(self) -> int:
        return min(len(partition.replicas) for partition in self.partitions)


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that holds readers of committed records up. ``start_offset`` is None where nobody could tell.

    ``transactional_id`` is None if no coordinator knows of it: a hanging transaction, which nobody is going to end.
    """

    topic: str
    partition: int
    start_offset: int | None
    producer_id: int | None
    transactional_id: str | None


@dataclass(frozen=True)
class Clock:
    """How far this machine's clock is ahead of the broker's, in seconds; None if no order came in to measure it by.

    ``newest_order_ahead_s`` is how far the newest order's time, by the broker's clock, is ahead of this machine's.
    """

    ahead_s: float | None
    newest_order_ahead_s: float | None


@dataclass(frozen=True)
class ClusterFacts:
    """What was seen; topics are named without the pipeline's prefix, and ``denied`` are those that it may not see."""

    brokers: int
    versions: Mapping[int, int]
    """The newest version of each request that the oldest broker understands, by the request's key."""
    broker_config: Mapping[str, str] | None
    topics: Mapping[str, TopicFacts]
    missing: tuple[str, ...]
    denied: tuple[str, ...]
    internal_topics: Mapping[str, TopicFacts]
    clock: Clock
    watched_s: float
    """How long the transactions below have been open at least."""
    open_transactions: tuple[OpenTransaction, ...]
    transactions_denied: bool = False
