"""What retention may have deleted, by the first records that are left."""

from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.runtime.kafka_client.partitioning import partition_for
from tests.unit.driver import FakeRecord
from verification.history import History, find_history, find_late_missing_until_s, find_metrics_missing_until_s
from verification.topic_reader import Offsets, TopicReader

NEVER, ALWAYS = float("-inf"), float("inf")
NOW_S = 1_000_000
EXPIRED_UNTIL_S = 800_000


class FakeReader:
    """A topic of one partition, whose first records were deleted."""

    def __init__(self, records: list[FakeRecord], begin: int, expired_until_s: float = ALWAYS) -> None:
        self._records = records
        self._begin = begin
        self._expired_until_s = expired_until_s

    async def ends(self, topic: str) -> Offsets:
        return {0: self._begin + len(self._records)}

    async def read(
        self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncIterator[list[FakeRecord]]:
        yield self._records

    async def first_record(self, topic: str, partition: int, begin: int, end: int) -> FakeRecord | None:
        return self._records[0] if self._records else None

    async def expired_until_ms(self, topic: str, now_s: float) -> float:
        assert now_s == NOW_S
        return 1000 * self._expired_until_s


def metric(window_end: int, written_s: float) -> FakeRecord:
    value = encode_metric(ProductMetric(window_end - 60, window_end, "prod-1", 1, 100))
    return FakeRecord(value, b"prod-1", timestamp=int(written_s * 1000))


def foreign(written_s: float) -> FakeRecord:
    return FakeRecord(b"no metric", None, timestamp=int(written_s * 1000))


@pytest.mark.parametrize(
    ("records", "begin", "expired_until_s", "missing_until_s"),
    [
        ([metric(120, 125)], 0, ALWAYS, NEVER),
        ([metric(120, 125), metric(180, 185)], 7, EXPIRED_UNTIL_S, 120),
        # Windows that close at the same moment come in any order.
        ([metric(120, 125), metric(180, 126)], 7, ALWAYS, 180),
        ([foreign(100), metric(120, 125), metric(180, 185)], 7, ALWAYS, 120),
        ([foreign(100), foreign(500)], 7, ALWAYS, ALWAYS),
        ([], 7, ALWAYS, ALWAYS),
        ([], 7, EXPIRED_UNTIL_S, EXPIRED_UNTIL_S + 60),
    ],
)
async def test_the_latest_window_whose_metric_may_be_missing(
    records: list[FakeRecord], begin: int, expired_until_s: float, missing_until_s: float
) -> None:
    reader = cast(TopicReader, FakeReader(records, begin, expired_until_s))
    found = await find_metrics_missing_until_s(reader, "product-metrics", {0: begin}, lambda: NOW_S)
    assert found == {0: missing_until_s}


def late(timestamp_s: float) -> FakeRecord:
    return FakeRecord(b"an order", b"prod-1", timestamp=int(timestamp_s * 1000))


@pytest.mark.parametrize(
    ("records", "begin", "expired_until_s", "missing_until_s"),
    [
        ([late(900_000)], 0, ALWAYS, NEVER),
        ([], 7, EXPIRED_UNTIL_S, EXPIRED_UNTIL_S),  # a partition that lost its only late order long ago
        ([], 7, ALWAYS, ALWAYS),
        ([late(900_000), late(950_000)], 7, ALWAYS, 903_600),
        ([late(900_000)], 7, EXPIRED_UNTIL_S, 903_600),  # the others may have been deleted by request
        ([late(100_000)], 7, EXPIRED_UNTIL_S, EXPIRED_UNTIL_S),  # a younger one may have come before it
    ],
)
async def test_the_latest_late_order_that_may_be_missing(
    records: list[FakeRecord], begin: int, expired_until_s: float, missing_until_s: float
) -> None:
    reader = cast(TopicReader, FakeReader(records, begin, expired_until_s))
    found = await find_late_missing_until_s(reader, "late-orders", {0: begin}, lambda: NOW_S)
    assert found == {0: missing_until_s}


@pytest.mark.parametrize(
    ("code", "settings", "expired_until_s"),
    [
        (0, {"retention.ms": "600000000", "retention.bytes": "-1"}, NOW_S - 600_000 + 3600),
        (0, {"retention.ms": "600000000", "retention.bytes": "1000"}, ALWAYS),
        (0, {"retention.ms": "-1", "retention.bytes": "-1"}, ALWAYS),
        (29, {}, ALWAYS),  # it may not be read
    ],
)
async def test_how_old_records_are_that_have_expired(
    code: int, settings: dict[str, str], expired_until_s: float
) -> None:
    class Admin:
        async def describe_configs(self, resources: list[Any]) -> list[Any]:
            return [SimpleNamespace(resources=[(code, "", 2, "late-orders", settings.items())])]

    reader = object.__new__(TopicReader)
    reader._admin = cast(Any, Admin())
    assert await reader.expired_until_ms("late-orders", NOW_S) == 1000 * expired_until_s


class FakeCluster:
    """``orders`` with two partitions of 100 records, one a second; each is late, a dead letter and so on in every third offset."""

    def __init__(self, timestamp_type: int) -> None:
        self._timestamp_type = timestamp_type

    async def begins(self, topic: str) -> Offsets:
        return {0: 0, 1: 0}

    async def ends(self, topic: str) -> Offsets:
        return {0: 100, 1: 100}

    async def first_record(self, topic: str, partition: int, begin: int, end: int) -> FakeRecord:
        return FakeRecord(b"an order", timestamp=1000 * begin, timestamp_type=self._timestamp_type)

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Offsets:
        return dict.fromkeys((0, 1), timestamp_ms // 3000)


@pytest.mark.parametrize(("timestamp_type", "late_begin"), [(1, 30), (0, 0)])
async def test_nothing_of_the_newest_orders_may_be_missing(timestamp_type: int, late_begin: int) -> None:
    """Reading begins later in all topics, but nothing was deleted. Orders of any time can have left the oldest records."""
    history = await find_history(cast(TopicReader, FakeCluster(timestamp_type)), "", newest_orders=20)
    assert history.begins["orders"] == {0: 90, 1: 90}
    for topic in ("processed-orders", "orders-dlq", "late-orders"):
        assert history.begins[topic] == {0: late_begin, 1: late_begin}
        assert not history.is_cut(topic)
        assert not history.is_cut(topic, 0)
    assert history.late_missing_until_s == {0: NEVER, 1: NEVER}


def test_metrics_that_one_partition_has_lost_excuse_no_other_partition() -> None:
    """prod-1 is in partition 0, whose metrics up to 180 are gone; prod-2 is in partition 1."""
    partition_of = {product: partition_for(product.encode(), 2) for product in ("prod-1", "prod-2")}
    assert partition_of == {"prod-1": 0, "prod-2": 1}
    history = History(metrics_missing_until_s={0: 180, 1: NEVER})
    assert [history.has_metric_of("prod-1", end_s) for end_s in (120, 180, 240)] == [False, False, True]
    assert history.has_metric_of("prod-2", 120)
    assert history.latest_missing_metric_s(["prod-1", "prod-2"]) == history.latest_missing_metric_s() == 180
    assert history.latest_missing_metric_s(["prod-2"]) == NEVER
    assert history.lines_since_s([240, 120]) == 120, "files from 120 on have metrics that the topic has, too"
    assert History(metrics_missing_until_s={0: NEVER, 1: NEVER}).lines_since_s([240, 120]) == NEVER
