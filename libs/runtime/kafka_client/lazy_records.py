"""Records as aiokafka's parser makes them, when they are asked for, without the copies that it makes of them.

Building a ``ConsumerRecord`` for each, a dataclass of eleven fields, takes half of the time that a bare consumer spends
(aiokafka 0.14: PartitionRecords._consumer_record). The parser's own records, made in C, have all that a stage asks for;
which topic and partition they are from, the worker knows. aiokafka's loop over a fetch is a step in Python for each record,
though what it has to do is to be done for a batch. And parsing all of a fetch before the first of its records is worked
drives them out of the processor's cache: batch by batch takes a sixth less. To be dropped when aiokafka hands out cheaper
records, one after the other.
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

KNOWN_INSIDE = "0.14.0"
"""The version of aiokafka whose fetcher this was written for; with another one records come as it makes them."""


class LazyRecordConsumer(AnyHeaderConsumer):
    """A consumer whose ``getmany`` returns records to be read ``in_batches``, without ``topic`` and ``partition``; maybe none.

    The position is after all of them before they are read. So whoever does not read all, for an error or for lack of time,
    has to ``seek``.
    """

    async def start(self) -> None:
        await super().start()  # type: ignore[no-untyped-call]
        if aiokafka.__version__ == KNOWN_INSIDE:
            fetcher: Any = self._fetcher
            fetcher._records = _LazyResults()  # noqa: SLF001 - the only seam there is
        else:
            log.warning("reading will be slower", aiokafka=aiokafka.__version__, advice=f"install {KNOWN_INSIDE}")


def in_batches(fetched: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """What ``getmany`` has returned for a partition, ``size`` records at a time.

    Raises:
        UnreadableHeaderError: a header's key is no UTF-8; the second attempt will read it.
        CorruptRecordException: a checksum is wrong.
    """
    records = iter(fetched)
    try:
        while batch := list(islice(records, size)):
            yield batch
    except UnicodeDecodeError as error:
        raise unreadable_header(error) from error


class _LazyResults(dict[TopicPartition, Any]):
    """Where the fetcher puts what it has fetched; nothing is read from a result before it has been put here."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:  # as the fetcher asks, so it cannot be of another class
            result._partition_records.__class__ = _UnwrappedRecords  # noqa: SLF001 - as above
            result.getall = partial(_take_all, proxy(result))  # type: ignore[method-assign]  # a proxy makes no cycle
        super().__setitem__(partition, result)


def _take_all(result: Any, max_records: int | None = None) -> Iterable[Any]:
    """``FetchResult.getall``, but before the records are parsed: so the next fetch can begin at once, as with it.

    A fetch may have no record, only an aborted transaction or the end of one. ``getmany`` returns those partitions, too: the position
    has moved, and at a partition's end nothing else would tell.
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
    """The parser's records, without a step in Python for each.

    aiokafka's own loop over the batches checks them and passes over what is aborted; to it, a batch looks like a single
    record. Brokers since Kafka 3.0 write none but batches of version 2 (KIP-98), which know where they begin.
    """

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._records_iterator)

    def _consumer_record(self, _: TopicPartition, batch: Any) -> Iterator[Any]:
        begin = self.next_fetch_offset
        if batch.base_offset >= begin:
            return batch.records  # type: ignore[no-any-return]  # aiokafka has no types
        return (record for record in batch.records if record.offset >= begin)

    def list_batches(self) -> int:
        """Look at all batches, not at their records; returns the offset after the last."""
        self._records = batches = _Batches(self._records)
        return batches.end_offset or int(self.next_fetch_offset)


class _Batches:
    """A fetch's batches, for ``PartitionRecords`` to take one after the other."""

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
    """A batch whose only record is itself."""

    def __init__(self, batch: Any) -> None:
        self.records = batch
        self.offset: int = batch.next_offset - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    def __iter__(self) -> Iterator[Self]:
        return iter((self,))

    def __next__(self) -> Any:
        return next(self.records)  # of a batch of markers
