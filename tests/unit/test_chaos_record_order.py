"""The chaos suite's check of the order of committed records detects violations."""

from typing import Any

import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS
from libs.runtime.kafka_client.partitioning import partition_for
from tests.chaos.record_order import RecordOrder

PARTITIONS = 2
# Ids that the generator would put into the same partition of `orders`.
SAME = [name for name in map(str, range(20)) if partition_for(name.encode(), PARTITIONS) == 0][:3]
(OTHER,) = [name for name in map(str, range(20)) if partition_for(name.encode(), PARTITIONS) == 1][:1]


def record(offset: int, value: bytes, headers: Any) -> ConsumerRecord[Any, Any]:
    return ConsumerRecord("processed-orders", 0, offset, 0, 0, None, value, 0, 0, len(value), tuple(headers))


def order(offset: int, order_id: str, time_s: float) -> ConsumerRecord[Any, Any]:
    return record(offset, orjson.dumps({"order_id": order_id, "timestamp": time_s}), ORDER_HEADERS)


def watermark(offset: int) -> ConsumerRecord[Any, Any]:
    return record(offset, b"{}", WATERMARK_HEADERS)


def test_records_in_order_cause_no_problem() -> None:
    """Orders of two partitions of `orders` may be mixed, and ends of transactions leave gaps."""
    seen = RecordOrder(PARTITIONS)
    seen.add(0, [order(0, SAME[0], 5.0), watermark(2), order(3, OTHER, 1.0), order(7, SAME[1], 5.0)])
    seen.add(1, [order(0, SAME[2], 2.0)])
    assert seen.problems() == []
    assert seen.orders == 4


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([order(3, SAME[0], 1.0), order(3, SAME[1], 2.0)], "offsets that go back 1 times"),
        ([order(0, SAME[0], 1.0), order(1, SAME[0], 1.0)], "an order twice 1 times"),
        ([order(0, SAME[0], 2.0), order(1, SAME[1], 1.0)], "in another order than they were sent in 1 times"),
    ],
)
def test_each_kind_of_violation_is_found(records: list[ConsumerRecord[Any, Any]], problem: str) -> None:
    seen = RecordOrder(PARTITIONS)
    seen.add(0, records)
    (line,) = seen.problems()
    assert problem in line
