"""The consumer of a stage: aiokafka's, with other fetches."""

from functools import partial
from typing import Any

from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.fetch_pacing import FetchPacing
from libs.runtime.kafka_client.fetch_turns import FetchInTurns, FetchTurns
from libs.runtime.kafka_client.lazy_records import LazyRecordConsumer, LazyResults

# Batches of a transaction in many partitions are of any size up to 256 KiB. A share that ends within one is read again: with 512
# KiB that is a third of all bytes.
INDEPENDENT_AT_A_TIME = 2
# As long as a transaction in a backlog, by default.
INDEPENDENT_TURN_S = 0.3


class StageConsumer(LazyRecordConsumer):
    """A ``LazyRecordConsumer`` that fetches few records at intervals, and a backlog of many partitions in turns.

    Args:
        fetches_apart_s: the longest time between two fetches while there are few records, in seconds.
        independent_partitions: whether one partition may be read far ahead of others.
        arguments: those of ``AIOKafkaConsumer``.
    """

    def __init__(self, *, fetches_apart_s: float, independent_partitions: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._fetches_apart_s = fetches_apart_s
        most_bytes: int = arguments["fetch_max_bytes"]
        at_a_time = max(most_bytes // arguments["max_partition_fetch_bytes"], 1)
        turn_s = 0.0
        if independent_partitions:
            at_a_time, turn_s = min(at_a_time, INDEPENDENT_AT_A_TIME), INDEPENDENT_TURN_S
        self._new_turns = partial(FetchTurns, at_a_time, turn_s)
        self._share_bytes = most_bytes // at_a_time
        self._in_turns: FetchInTurns | None = None

    def left_out_for_s(self, partition: TopicPartition) -> float:
        """Seconds since other partitions with a backlog were last read instead of ``partition``; infinite if that has never been."""
        return self._in_turns.left_out_for_s(partition) if self._in_turns else float("inf")

    def has_waiting(self, partition: TopicPartition) -> bool:
        """Whether there are fetched records of ``partition``, or an error, that the next ``getmany`` returns or raises."""
        fetcher: Any = self._fetcher
        return partition in fetcher._records  # noqa: SLF001 - there is no public access

    async def start(self) -> None:
        await super().start()
        fetcher: Any = self._fetcher
        results = fetcher._records  # noqa: SLF001 - there is no public access
        if isinstance(results, LazyResults):  # not with another version of aiokafka
            fetch = fetcher._proc_fetch_request  # noqa: SLF001 - as above
            self._in_turns = in_turns = FetchInTurns(fetch, self._new_turns, self._share_bytes)
            fetcher._proc_fetch_request = FetchPacing(  # noqa: SLF001 - as above
                in_turns, lambda: results.received_bytes, self._fetches_apart_s
            )
