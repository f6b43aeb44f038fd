"""A stage's view of Kafka: the records that it reads, and the output that it writes to."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

Headers = list[tuple[str, bytes | None]]
"""Names and values, in their order; a name may come again, and a value may be null."""


def carried_headers(headers: Iterable[tuple[str, bytes | None]], ours: Collection[str]) -> Headers:
    """The sender's headers that a derived record keeps: all except those whose names are in ``ours``."""
    return [header for header in headers if header[0] not in ours]


LOG_APPEND_TIME = 1


class Record(Protocol):
    """A consumed record, as Kafka clients hand it over.

    ``timestamp``, in epoch milliseconds, is the broker's if ``timestamp_type`` is LOG_APPEND_TIME, the sender's otherwise
    (KIP-32).
    """

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class LocatedRecord(Record, Protocol):
    """A record with its topic and partition."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...


Row = tuple[bytes | None, bytes | None, int]
"""What differs from one record to the next: key, value, timestamp in epoch milliseconds."""


class Output(Protocol):
    """Collects the records that the next commit makes visible, all or none."""

    def partition_count(self, topic: str) -> int:
        """The number of partitions of ``topic``."""
        ...

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """The partition that Kafka's default partitioner (murmur2) gives ``key``."""
        ...

    def extend(self, topic: str, partitions: Sequence[int], rows: Sequence[Row], headers: Headers) -> None:
        """``send`` for many records, each with its partition: several times as fast."""
        ...

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Headers,
    ) -> None:
        """Add one record to the open transaction; ``value`` None is a tombstone in a compacted topic."""
        ...
