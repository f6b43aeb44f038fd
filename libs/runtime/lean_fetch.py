"""Records as aiokafka's parser makes them, without the copies that it makes of them for its callers.

Building a ``ConsumerRecord`` for each, a dataclass of eleven fields, takes half of the time that a bare consumer spends
(aiokafka 0.14: PartitionRecords._consumer_record). The parser's own records, made in C, have all that a stage asks for;
which topic and partition they are from, the worker knows. To be dropped when aiokafka hands out cheaper records.
"""

from collections.abc import Iterator
from typing import Any

import aiokafka
import structlog
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.structs import TopicPartition

from libs.runtime.header_keys import AnyHeaderConsumer

log = structlog.get_logger()

KNOWN_INSIDE = "0.14.0"
"""The version of aiokafka whose fetcher this was written for; with another one records come as it makes them."""


class LeanConsumer(AnyHeaderConsumer):
    """A consumer whose ``getmany`` returns records without ``topic`` and ``partition``."""

    async def start(self) -> None:
        await super().start()  # type: ignore[no-untyped-call]
        if aiokafka.__version__ == KNOWN_INSIDE:
            fetcher: Any = self._fetcher
            fetcher._records = _LeanResults()  # noqa: SLF001 - the only seam there is
        else:
            log.warning("reading will be slower", aiokafka=aiokafka.__version__, advice=f"install {KNOWN_INSIDE}")


class _LeanResults(dict[TopicPartition, Any]):
    """Where the fetcher puts what it has fetched; nothing is read from a result before it has been put here."""

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:
            result._partition_records.__class__ = _LeanRecords  # noqa: SLF001 - as above
        super().__setitem__(partition, result)


class _LeanRecords(PartitionRecords):
    """Hands out the parser's records, and each without a call in between."""

    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator  # type: ignore[no-any-return]  # aiokafka has no types

    def _consumer_record(self, _: TopicPartition, record: Any) -> Any:
        return record
