import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from watch.kafka_view import _FOLLOWED, KafkaView, _reason

DEAD, LATE, METRICS = (TopicPartition(f"mine.{name}", 0) for name in ("orders-dlq", "late-orders", "product-metrics"))


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


@pytest.mark.parametrize("headers", [(), (("error.reason", None),), (("error.reason", b""),)])
def test_a_foreign_dead_letter_is_counted_without_a_reason(
    headers: tuple[tuple[str, bytes | None], ...],
) -> None:
    assert _reason(cast(Any, SimpleNamespace(headers=headers))) == "unknown"
