import contextlib
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, Watermark, encode_watermark
from libs.runtime.records import Headers
from watch.kafka_view import _FOLLOWED, _TOPICS, KafkaView
from watch.new_records import NewRecords

DEAD, LATE, METRICS, PROCESSED = (
    TopicPartition(f"mine.{name}", 0) for name in ("orders-dlq", "late-orders", "product-metrics", "processed-orders")
)


@contextlib.asynccontextmanager
async def view_of(positions: dict[TopicPartition, int]) -> AsyncIterator[KafkaView]:
    view = KafkaView("localhost:1", "mine.", positions)
    view._partitions = {name: [TopicPartition(f"mine.{name}", 0)] for name in _FOLLOWED}
    yield view
    await view.__aexit__(None, None, None)


async def test_at_the_start_a_bounded_number_of_existing_records_is_read() -> None:
    async with view_of({}) as view:
        unread = view._start_followed({DEAD: 7, LATE: 0, METRICS: 100}, {DEAD: 50, LATE: 0, METRICS: 23_100})
    assert view._next == {DEAD: 7, LATE: 0, METRICS: 3100}
    assert +unread == {"product-metrics": 3000}
    assert view._cut == {METRICS}


async def test_each_observation_continues_where_the_last_one_ended() -> None:
    positions = {DEAD: 40, LATE: 30, METRICS: 20}
    async with view_of(positions) as view:
        unread = view._start_followed({DEAD: 7, LATE: 0, METRICS: 0}, {DEAD: 50, LATE: 5030, METRICS: 10})
    assert view._next == {DEAD: 40, LATE: 3030, METRICS: 10}  # the last one was recreated
    assert +unread == {"late-orders": 3000}
    assert positions == {DEAD: 40, LATE: 30, METRICS: 20}  # until this observation has succeeded


@dataclass
class Fetched:
    topic: str
    partition: int
    headers: Headers
    value: bytes


def reasons_of(headers: Headers) -> dict[str, int]:
    followed = NewRecords("mine.")
    followed.take(cast(Any, [Fetched(DEAD.topic, 0, headers, b"")]))
    return followed.dead_letters


@pytest.mark.parametrize("headers", [[], [("error.reason", None)], [("error.reason", b"")]])
def test_a_foreign_dead_letter_is_counted_without_a_reason(headers: Headers) -> None:
    assert reasons_of(headers) == {"unknown": 1}


def test_a_reason_is_cut() -> None:
    """Another program may write a text of any length."""
    assert reasons_of([("error.reason", b"r" * 100_000)]) == {"r" * 40: 1}


class OneRecordAtATime:
    """A consumer with one record in each response; counts those that are still in use at the next one."""

    def __init__(self, logs: Mapping[TopicPartition, list[tuple[Headers, bytes]]]) -> None:
        self._logs = logs
        self._positions: dict[TopicPartition, int] = {}
        self._handed_out: list[weakref.ref[Fetched]] = []
        self.most_in_use = 0

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: len(self._logs.get(each, ())) for each in partitions}

    def seek(self, partition: TopicPartition, position: int) -> None:
        self._positions[partition] = position

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def getmany(
        self, first: TopicPartition, *_: TopicPartition, **__: int
    ) -> dict[TopicPartition, list[Fetched]]:
        self.most_in_use = max(self.most_in_use, sum(each() is not None for each in self._handed_out))
        headers, value = self._logs[first][self._positions[first]]
        record = Fetched(first.topic, first.partition, headers, value)
        self._handed_out.append(weakref.ref(record))
        self._positions[first] += 1
        return {first: [record]}

    def resume(self, *_: TopicPartition) -> None:
        """Nothing is fetched in advance."""

    pause = resume


async def test_no_record_outlives_its_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of dead letters of a megabyte each are more than a container's memory."""
    of_order: Headers = [("error.reason", b"large"), ("source.topic", b"mine.orders")]
    of_other: Headers = [("error.reason", b"late")]
    mark = Watermark((0, 1), 2, 17.5)
    metric = encode_metric(ProductMetric(60, 120, "apple", 3, 450))
    large = b" " * 100_000
    consumer = OneRecordAtATime(
        {
            DEAD: [(of_order, large), (of_order, large), (of_other, large)],
            LATE: [(ORDER_HEADERS, large), (ORDER_HEADERS, large)],
            METRICS: [([], large), ([], metric + large), ([], large)],
            PROCESSED: [
                (ORDER_HEADERS, large),
                (WATERMARK_HEADERS, encode_watermark(mark) + large),
                (WATERMARK_HEADERS, b""),
            ],
        }
    )

    async def offsets(*_: object) -> dict[int, int]:
        return {0: 0}

    async def members(*_: object) -> int:
        return 1

    async with view_of({}) as view:
        view._partitions = {name: [TopicPartition(f"mine.{name}", 0)] for name in _TOPICS}
        view._cut = {METRICS}
        with monkeypatch.context() as patch:
            patch.setattr(view, "_consumer", consumer)
            patch.setattr(view, "_ahead", consumer)
            patch.setattr(view, "_committed", offsets)
            patch.setattr(view, "_members", members)
            seen = await view.look()
    assert consumer.most_in_use == 0
    assert (seen.dead_letters, seen.rejected, seen.late) == ({"large": 2, "late": 1}, 2, 2)
    assert [(each.product_id, each.order_count, each.total_revenue) for each in seen.metrics] == [("apple", 3, 4.5)]
    assert (seen.cut_until_s, view._cut) == (120, set())
    assert seen.marks == [mark]
