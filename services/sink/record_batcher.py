"""Converts records of ``product-metrics`` to items and positions; detects that the topic was recreated."""

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.lazy_records import in_batches
from libs.runtime.records import Record

Item = TypeVar("Item")

Parser = Callable[[Sequence[bytes | None]], Sequence[Item]]
"""What to write for the values of records, one for each; raises ``ValueError`` when one of them is no metric."""


class TopicRewoundError(PipelineError):
    """The topic is not the one that was written: it was deleted and recreated, or lost its last records."""


class RecordMissingError(PipelineError):
    """The record before a position was not found: retention has deleted it, it is another topic, or the broker does not know it.

    A broker does not know it if it has lost the leadership: its log is shorter, and the consumer is reset to the first record.
    """

    def __init__(self, partition: int, next_offset: int, found: int) -> None:
        super().__init__(
            f"partition {partition} was written before offset {next_offset}, but its first record there has offset {found}"
        )
        self.partition = partition
        self.next_offset = next_offset


class Position(NamedTuple):
    """A partition's next offset, and a checksum of the record before it, to check that the topic is still the same."""

    next_offset: int
    crc: int


@dataclass
class MetricBatch(Generic[Item]):
    """The items to write, their partitions' positions afterwards, and the records that are not metrics."""

    items: list[Item] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    groups: set[int] = field(default_factory=set)


class _Piece(NamedTuple, Generic[Item]):
    """Consecutive records of a partition, of one group at most."""

    last: Record
    items: Sequence[Item]
    rejected: Sequence[str]
    groups: Collection[int]


def _no_groups(_: Sequence[object]) -> Collection[int]:
    return ()


class RecordBatcher(Generic[Item]):
    """Puts the records of fetches into batches to write, beginning at the positions that have been written.

    Args:
        parse: converts the records' values to items.
        positions: the next position of each partition that has been written.
        rereading: the partitions that are read from one record before their position. That record has to be the one that
            was written. Offsets alone would not show it: a recreated topic may already be longer than the old one was.
        groups_of: the groups that items belong to; items of different groups are never put into one batch.
    """

    def __init__(
        self,
        parse: Parser[Item],
        positions: Mapping[int, Position],
        rereading: Iterable[int],
        groups_of: Callable[[Sequence[Item]], Collection[int]] = _no_groups,
    ) -> None:
        self._parse = parse
        self._positions = dict(positions)
        self._rereading = set(rereading)
        self.verified: set[int] = set()
        """Partitions whose last record was read again, and was the one that was written."""
        self._groups_of = groups_of

    def batches(self, fetched: Mapping[int, Iterable[Record]], most_records: int) -> Iterator[MetricBatch[Item]]:
        """The records fetched of each partition, in batches of about ``most_records``.

        Each batch has to be written before the next one is asked for.

        Raises:
            TopicRewoundError: a record is not the one that was written.
            RecordMissingError: the record that was written was not found, or older ones came.
        """
        batch, count = MetricBatch[Item](), 0
        for partition, records in fetched.items():
            for run in in_batches(records, most_records):
                new = self._new(partition, run)
                for piece in self._pieces(partition, new) if new else ():
                    if len(batch.groups.union(piece.groups)) > 1 or count >= most_records:
                        yield batch
                        batch, count = MetricBatch[Item](), 0
                    self._positions[partition] = Position(piece.last.offset + 1, crc_of(piece.last))
                    batch.positions[partition] = self._positions[partition]
                    batch.items += piece.items
                    batch.rejected += piece.rejected
                    batch.groups.update(piece.groups)
                    count += len(piece.items) + len(piece.rejected)
        if batch.positions:
            yield batch

    def _new(self, partition: int, run: Sequence[Record]) -> Sequence[Record]:
        """``run`` without the record that was read again for the check."""
        # Offsets increase within a fetch, so checking its first record is enough.
        if not self._is_reread(partition, run[0]):
            return run
        if len(run) > 1:
            self._is_reread(partition, run[1])
        return run[1:]

    def _pieces(self, partition: int, run: Sequence[Record]) -> Iterator[_Piece[Item]]:
        """``run``, halved until each piece has one group at most, and is all metrics or a single record that is not a metric."""
        try:
            items = self._parse([record.value for record in run])
            groups = self._groups_of(items)
            if len(groups) <= 1:
                yield _Piece(run[-1], items, (), groups)
                return
        except ValueError as error:
            if len(run) == 1:
                yield _Piece(run[0], (), [f"partition {partition}, offset {run[0].offset}: {error}"], ())
                return
        half = len(run) // 2
        yield from self._pieces(partition, run[:half])
        yield from self._pieces(partition, run[half:])

    def _is_reread(self, partition: int, record: Record) -> bool:
        position = self._positions.get(partition)
        if position is None:
            return False
        if partition not in self._rereading:
            if record.offset >= position.next_offset:
                return False
            raise RecordMissingError(partition, position.next_offset, record.offset)
        self._rereading.remove(partition)
        if (record.offset + 1, crc_of(record)) == position:
            self.verified.add(partition)
            return True
        if record.offset + 1 != position.next_offset:
            raise RecordMissingError(partition, position.next_offset, record.offset)
        raise TopicRewoundError(
            f"partition {partition} was written before offset {position.next_offset}, "
            f"but offset {record.offset} is not what was there before"
        )


def crc_of(record: Record) -> int:
    """A checksum that distinguishes a record from another one at the same offset."""
    return zlib.crc32(b"%d:" % record.timestamp + (record.value or b""))
