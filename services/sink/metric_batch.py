"""From records of ``product-metrics`` to the lines that stand for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from libs.events.records import Record
from libs.runtime.errors import PipelineError


class TopicRewoundError(PipelineError):
    """A record's offset was written before: the topic was deleted and made anew, or lost its end."""


@dataclass
class MetricBatch:
    """Lines to write, where each partition goes on after them, and the records that are no metric."""

    lines: list[bytes] = field(default_factory=list)
    next_offsets: dict[int, int] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)


def collect(records: Iterable[Sequence[Record]], next_offsets: Mapping[int, int]) -> MetricBatch:
    """One batch from what was read of each partition; raises ``TopicRewoundError``."""
    batch = MetricBatch()
    for run in records:
        for record in run:
            expected = batch.next_offsets.get(record.partition, next_offsets.get(record.partition, 0))
            if record.offset < expected:
                raise TopicRewoundError(
                    f"partition {record.partition} of {record.topic!r} has gone back from {expected} to {record.offset}"
                )
            batch.next_offsets[record.partition] = record.offset + 1
            try:
                batch.lines.append(line_of(record.value))
            except ValueError as error:
                batch.rejected.append(f"partition {record.partition}, offset {record.offset}: {error}")
    return batch


def line_of(value: bytes | None) -> bytes:
    """The value's own bytes on one line; raises ``ValueError`` unless it is a JSON object."""
    if value is None:
        raise ValueError("no value")
    if not isinstance(orjson.loads(value), dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the value is wrong, whatever its JSON type
    # Inside a JSON string a line break is escaped, so a bare one is only space between tokens.
    return value.strip().replace(b"\n", b" ").replace(b"\r", b" ")
