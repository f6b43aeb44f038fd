"""What retention may have deleted, by the first records that are left."""

from collections.abc import AsyncIterator, Mapping
from typing import cast

import pytest

from libs.events.product_metrics import ProductMetric, encode_metric
from tests.unit.driver import FakeRecord
from verification.history import find_metrics_missing_until_s
from verification.topic_reader import Offsets, TopicReader

NEVER = float("-inf")


class FakeReader:
    """A topic of one partition, whose first records were deleted."""

    def __init__(self, records: list[FakeRecord], begin: int) -> None:
        self._records = records
        self._begin = begin

    async def ends(self, topic: str) -> Offsets:
        return {0: self._begin + len(self._records)}

    async def read(
        self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncIterator[list[FakeRecord]]:
        yield self._records


def metric(window_end: int, written_s: float) -> FakeRecord:
    value = encode_metric(ProductMetric(window_end - 60, window_end, "prod-1", 1, 100))
    return FakeRecord(value, b"prod-1", timestamp=int(written_s * 1000))


def foreign(written_s: float) -> FakeRecord:
    return FakeRecord(b"no metric", None, timestamp=int(written_s * 1000))


@pytest.mark.parametrize(
    ("records", "begin", "missing_until_s"),
    [
        ([metric(120, 125)], 0, NEVER),
        ([metric(120, 125), metric(180, 185)], 7, 120),
        ([metric(120, 125), metric(180, 126)], 7, 180),  # windows that close at the same moment come in any order
        ([foreign(100), metric(120, 125), metric(180, 185)], 7, 120),
        ([foreign(100), foreign(500)], 7, float("inf")),
        ([], 7, float("inf")),
    ],
)
async def test_the_latest_window_whose_metric_may_be_missing(
    records: list[FakeRecord], begin: int, missing_until_s: float
) -> None:
    reader = cast(TopicReader, FakeReader(records, begin))
    assert await find_metrics_missing_until_s(reader, "product-metrics", {0: begin}) == missing_until_s
