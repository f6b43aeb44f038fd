"""Facts about a cluster and the pipeline's topics in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.runtime.kafka_requests.list_transactions import UNDECIDED


@dataclass(frozen=True)
class Partition:
    """``leader`` is None while there is none."""

    number: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True)
class TopicFacts:
    """``config`` is None if this client is not allowed to describe it."""

    name: str
    partitions: tuple[Partition, ...]
    config: Mapping[str, str] | None

    @property
    def replication_factor(self) -> int:
        return min(len(partition.replicas) for partition in self.partitions)


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that blocks readers of committed records.

    ``start_offset`` and ``producer_id`` are None if the brokers did not name its producer. ``transactional_id`` is None if no
    coordinator knows it. ``state`` is the coordinator's: the transaction hangs, and no timeout ends it (KIP-664), unless that
    is one of UNDECIDED.
    """

    topic: str
    partition: int
    start_offset: int | None
    producer_id: int | None
    transactional_id: str | None
    state: str | None = None

    @property
    def hangs(self) -> bool:
        return self.producer_id is not None and self.state not in UNDECIDED


@dataclass(frozen=True)
class Clock:
    """How far this machine's clock is ahead of the broker's, in seconds; None if no order arrived to measure it with.

    ``newest_order_ahead_s`` is how far the newest order's time, by the broker's clock, is ahead of this machine's.
    """

    ahead_s: float | None
    newest_order_ahead_s: float | None


@dataclass(frozen=True)
class Failure:
    """In the place of a fact that could not be collected."""

    reason: str


@dataclass(frozen=True)
class ClusterFacts:
    """Topics are named without the pipeline's prefix. ``denied``: topics that this client is not allowed to describe."""

    brokers: int
    versions: Mapping[int, int]
    """The newest version of each request that all brokers support, by the request's key."""
    broker_config: Mapping[str, str] | None
    topics: Mapping[str, TopicFacts]
    missing: tuple[str, ...]
    denied: tuple[str, ...]
    internal_topics: Mapping[str, TopicFacts]
    clock: Clock | Failure
    watched_s: float
    """The minimum time for which the transactions below have been open."""
    open_transactions: tuple[OpenTransaction, ...] | Failure
    transactions_denied: bool = False
    """This client is not allowed to list the producers of some, or a broker is too old for that."""
    producers_failure: str | None = None
    """Why the producers of some could not be listed, although this client may."""
