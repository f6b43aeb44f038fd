"""What pure logic sees of Kafka: a record that came in, and a place to put records that go out."""

from collections.abc import Sequence
from typing import Protocol

Headers = list[tuple[str, bytes]]


LOG_APPEND_TIME = 1


class StoredRecord(Protocol):
    """What every consumed record has, as Kafka clients hand it over; ``timestamp`` in epoch milliseconds."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Record(StoredRecord, Protocol):
    """A record that a stage reads.

    ``timestamp`` is the broker's if ``timestamp_type`` is LOG_APPEND_TIME, the sender's otherwise (KIP-32).
    """

    @property
    def topic(self) -> str: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Output(Protocol):
    """Takes the records that become visible, all or none, with the next commit."""

    def partition_count(self, topic: str) -> int:
        """The number of partitions of ``topic``."""
        ...

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """The partition that Kafka's default partitioner (murmur2) gives ``key``."""
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
