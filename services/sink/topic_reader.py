"""From records of ``product-metrics`` to what is written for them, and to positions that can be recognised."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import orjson

from libs.events.records import LocatedRecord
from libs.runtime.errors import PipelineError

Item = TypeVar("Item")


class TopicRewoundError(PipelineError):
    """The topic is not the one that was written: it was deleted and made anew, or lost its end."""


class Position(NamedTuple):
    """Where a partition goes on, and a checksum of the record before, by which to tell that it still is the same."""

    next_offset: int
    crc: int


@dataclass
class MetricBatch(Generic[Item]):
    """What to write, where its partitions go on after it, and the records that are no metric."""

    items: list[Item] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)


class TopicReader(Generic[Item]):
    """Follows the topic from what was written.

    Args:
        parse: what to write for a record's value; raises ``ValueError`` when that is no metric.
        positions: where each partition that has been written goes on.
        rereading: the partitions that begin one record before their position. That record has to be the one that was
            written; a topic made anew may by now be longer than the old one was, and offsets alone would not tell.
    """

    def __init__(
        self,
        parse: Callable[[bytes | None], Item],
        positions: Mapping[int, Position],
        rereading: Iterable[int],
    ) -> None:
        self._parse = parse
        self._positions = dict(positions)
        self._rereading = set(rereading)

    def collect(self, records: Iterable[Sequence[LocatedRecord]]) -> MetricBatch[Item]:
        """One batch from what was read of each partition; raises ``TopicRewoundError``."""
        batch: MetricBatch[Item] = MetricBatch()
        for run in records:
            # Within what was fetched of a partition offsets only grow: looking at its first record will do.
            new = run[1:] if run and self._is_reread(run[0]) else run
            if not new:
                continue
            if len(new) < len(run):
                self._is_reread(new[0])
            last = new[-1]
            self._positions[last.partition] = Position(last.offset + 1, crc_of(last))
            batch.positions[last.partition] = self._positions[last.partition]
            for record in new:
                try:
                    batch.items.append(self._parse(record.value))
                except ValueError as error:
                    batch.rejected.append(f"partition {record.partition}, offset {record.offset}: {error}")
        return batch

    def _is_reread(self, record: LocatedRecord) -> bool:
        position = self._positions.get(record.partition)
        if position is None:
            return False
        if record.partition in self._rereading:
            self._rereading.remove(record.partition)
            if (record.offset + 1, crc_of(record)) == position:
                return True
        elif record.offset >= position.next_offset:
            return False
        raise TopicRewoundError(
            f"partition {record.partition} of {record.topic!r} was written before offset {position.next_offset}, "
            f"but offset {record.offset} is not what was there before"
        )


def crc_of(record: LocatedRecord) -> int:
    """What tells a record from another at the same offset."""
    return zlib.crc32(b"%d:" % record.timestamp + (record.value or b""))


def line_of(value: bytes | None) -> bytes:
    """The value's own bytes on one line; raises ``ValueError`` unless it is a JSON object."""
    if value is None:
        raise ValueError("no value")
    if not isinstance(orjson.loads(value), dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the value is wrong, whatever its JSON type
    # Inside a JSON string a line break is escaped, so a bare one is only space between tokens.
    return value.strip().replace(b"\n", b" ").replace(b"\r", b" ")
