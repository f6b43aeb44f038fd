"""Hands out the records of aiokafka's parser lazily, batch by batch, without copying each into a ``ConsumerRecord``.

A bare consumer spends half of its time on creating ``ConsumerRecord`` objects, dataclasses with eleven fields (aiokafka
0.14: PartitionRecords._consumer_record). The parser's own records, implemented in C, have all fields that a stage needs,
except topic and partition, which the worker knows. aiokafka also runs a step in Python for each record that is needed only
once for each batch. And parsing a whole fetch before processing its first record evicts the records from the CPU cache:
going batch by batch takes a sixth less time. To be removed when aiokafka returns cheaper records lazily.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Self
from weakref import proxy

import aiokafka
import structlog
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.header_keys import AnyHeaderConsumer, unreadable_header

log = structlog.get_logger()

SUPPORTED_AIOKAFKA = "0.14.0"
"""The version of aiokafka whose fetcher this was written for; with another one records come as it makes them."""


class LazyRecordConsumer(AnyHeaderConsumer):
    """A consumer whose ``getmany`` returns records to be read ``in_batches``, without ``topic`` and ``partition``; maybe none.

    The consumer's position is after all of them before they are parsed. A caller that does not read them all has to
    ``seek``.
    """

    async def start(self) -> None:
        await super().start()  # type: ignore[no-untyped-call]
        if aiokafka.__version__ == SUPPORTED_AIOKAFKA:
            fetcher: Any = self._fetcher
            fetcher._records = LazyResults()  # noqa: SLF001 - there is no public access
        else:
            log.warning("reading will be slower", aiokafka=aiokafka.__version__, advice=f"install {SUPPORTED_AIOKAFKA}")


def in_batches(fetched: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The records that ``getmany`` has returned for a partition, ``size`` at a time.

    Raises:
        UnreadableHeaderError: a header's key is not UTF-8; the second attempt will read it.
        CorruptRecordException: a checksum is wrong.
    """
    records = iter(fetched)
    try:
        while batch := list(islice(records, size)):
            yield batch
    except UnicodeDecodeError as error:
        raise unreadable_header(error) from error


class LazyResults(dict[TopicPartition, Any]):
    """Replaces the dict in which the fetcher stores its results; a result is not read before it is stored."""

    received_bytes = 0
    """The size of all records that have been stored."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:  # the fetcher checks the type in the same way, so it has to stay this class
            self.received_bytes += result._partition_records._records.size_in_bytes()  # noqa: SLF001 - as above
            result._partition_records.__class__ = _UnwrappedRecords  # noqa: SLF001 - as above
            result.getall = partial(_take_all, proxy(result))  # type: ignore[method-assign]  # a proxy makes no cycle
        super().__setitem__(partition, result)


def _take_all(result: Any, max_records: int | None = None) -> Iterable[Any]:
    """Replaces ``FetchResult.getall``: the records are not parsed yet, and as with it, the next fetch can begin at once.

    A fetch may have no record, but only an aborted transaction or a transaction marker. ``getmany`` returns these partitions, too: the
    consumer's position has advanced, and at the end of a partition no later fetch would show it.
    """
    if max_records is not None:
        raise NotImplementedError("max_records: in_batches takes as many as wanted")
    records, state = result._partition_records, result._assignment.state_value  # noqa: SLF001 - as above
    if records is None or not result.check_assignment(result._topic_partition):  # noqa: SLF001 - as above
        return ()
    result._partition_records = None  # noqa: SLF001 - as above
    end = records.list_batches()
    first = next(records, None)
    state(result._topic_partition).consumed_to(end)  # noqa: SLF001 - as above
    # aiokafka leaves out what is false, such as an empty tuple; an iterator never is.
    return iter(()) if first is None else chain(first, records)


class _UnwrappedRecords(PartitionRecords):
    """The parser's records, without a step in Python for each record.

    aiokafka's own loop over the batches checks them and skips aborted ones. A batch is presented to it as a single record.
    Brokers since Kafka 3.0 write only batches of version 2 (KIP-98), which have their base offset.
    """

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._records_iterator)

    def _consumer_record(self, _: TopicPartition, batch: Any) -> Iterator[Any]:
        begin = self.next_fetch_offset
        if batch.base_offset >= begin:
            return batch.records  # type: ignore[no-any-return]  # aiokafka has no types
        return (record for record in batch.records if record.offset >= begin)

    def list_batches(self) -> int:
        """Check all batches without parsing their records; returns the offset after the last one."""
        self._records = batches = _Batches(self._records)
        return batches.end_offset or int(self.next_fetch_offset)


class _Batches:
    """The batches of a fetch, over which ``PartitionRecords`` iterates."""

    def __init__(self, records: Any) -> None:
        self._batches = deque[Any]()
        while records.has_next():
            self._batches.append(records.next_batch())
        self.end_offset: int = self._batches[-1].next_offset if self._batches else 0

    def has_next(self) -> bool:
        return bool(self._batches)

    def next_batch(self) -> "_BatchAsRecord":
        return _BatchAsRecord(self._batches.popleft())


class _BatchAsRecord:
    """Presents a batch as a single record."""

    def __init__(self, batch: Any) -> None:
        self.records = batch
        self.offset: int = batch.next_offset - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    def __iter__(self) -> Iterator[Self]:
        return iter((self,))

    def __next__(self) -> Any:
        return next(self.records)  # of a batch of markers
