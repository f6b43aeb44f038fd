"""What a report says of records that were deleted, and of files that were moved away; without Kafka."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import pytest

from daily_report import gather as gather_module
from daily_report.gather import Outputs, _compare, _dead_letters, _late_orders, _topic_metrics
from daily_report.reconciliation import Reconciliation
from daily_report.span import parse_span
from libs.events.product_metrics import ProductMetric, encode_metric
from libs.runtime.errors import PipelineError
from metrics_report.skipped import Skipped
from services.sink.file.finished_files import Span as FileSpan
from services.sink.file.metrics_file import MetricsFile
from services.sink.file.rotate_setting import Rotate
from services.sink.record_batcher import Position
from tests.unit.driver import FakeRecord
from verification.topic_reader import Offsets

DAY = parse_span("2026-11-27")
DAY_S = 86_400
TOPIC = "mine.product-metrics"
RETENTION_S = 7 * DAY_S


class FakeTopic:
    """Records by partition, from offset ``begin`` on; it keeps them for a week."""

    def __init__(self, records: Mapping[int, list[FakeRecord]], begins: Mapping[int, int]) -> None:
        self._records = records
        self._begins = begins

    async def begins(self, *_: str) -> Offsets:
        return dict(self._begins)

    async def settled_ends(self, *_: str) -> Offsets:
        return {each: self._begins[each] + len(records) for each, records in self._records.items()}

    ends = settled_ends

    async def offsets_at(self, *where: Any) -> Offsets:
        since_ms = where[-1]
        return {
            each: next((at for at, one in enumerate(records, self._begins[each]) if one.timestamp >= since_ms), end)
            for (each, records), end in zip(self._records.items(), (await self.settled_ends()).values(), strict=True)
        }

    async def read(self, _: str, begins: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[list[FakeRecord]]:
        for partition, end in ends.items():
            yield [
                replace(each, partition=partition, offset=at)
                for at, each in enumerate(self._records[partition], self._begins[partition])
                if begins[partition] <= at < end
            ]

    async def letters(self, ends: Mapping[int, int], begins: Mapping[int, int]) -> AsyncIterator[list[Any]]:
        no_letters: list[Any] = []
        yield no_letters

    async def expired_until_ms(self, *when: Any) -> float:
        return float(when[-1] - RETENTION_S) * 1000

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("age_s", "left", "is_cut"),
    [
        (2 * DAY_S, [], False),  # what has expired was older than the span
        (8 * DAY_S, [], True),
        (2 * DAY_S, [DAY.to_s], True),  # records since the span's beginning may have been deleted by request
        (2 * DAY_S, [DAY.from_s - 2 * DAY_S, DAY.to_s], False),
    ],
)
async def test_an_idle_partition_without_records_is_cut_only_for_spans_whose_records_may_have_expired(
    age_s: int, left: list[int], is_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = FakeTopic({0: [FakeRecord(b"", None, timestamp=1000 * each) for each in left], 1: []}, {0: 3, 1: 0})

    def now_s() -> float:
        return DAY.from_s + age_s

    found = await _late_orders(cast(Any, topic), "late-orders", DAY, 60, now_s)
    assert found == ({}, is_cut)
    monkeypatch.setattr(gather_module, "letter_reader", lambda *_: topic)
    assert await _dead_letters("", "", DAY, now_s) == ({}, is_cut)


def metric(product: str, start_s: int) -> FakeRecord:
    value = encode_metric(ProductMetric(start_s, start_s + 60, product, 1, 100))
    return FakeRecord(value, product.encode(), timestamp=1000 * (start_s + 65))


def starts(day: int) -> list[int]:
    """The windows of a day, counted from the report's."""
    return [DAY.from_s + day * DAY_S + 3600 * hour for hour in (1, 2, 3)]


PRODUCTS = ("prod-1", "prod-2")  # in the partitions 0 and 1
METRICS = {
    partition: [metric(product, start_s) for day in (-1, 0, 1) for start_s in starts(day)]
    for partition, product in enumerate(PRODUCTS)
}


async def compared(path: Path, topic: FakeTopic) -> tuple[Reconciliation, int]:
    found = await _topic_metrics(cast(Any, topic), TOPIC, DAY, Skipped(), lambda: DAY.to_s)
    reconciliation, _, moved_away = _compare(found, Outputs(path, None), DAY)
    return reconciliation, moved_away


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The sink's files: a finished one for each of the first two days, and the live one."""
    path = tmp_path / "metrics.json"
    file = MetricsFile(path, TOPIC, rotate=Rotate(by_day=True))
    assert file.acquire()
    file.open("cluster")
    for offset, records in enumerate(zip(*METRICS.values(), strict=True)):
        start_s = [start_s for day in (-1, 0, 1) for start_s in starts(day)][offset]
        for partition, record in enumerate(records):
            file.write([record.value or b""], {partition: Position(offset + 1, 0)}, FileSpan(start_s, start_s))
    file.close()
    return path


async def test_metrics_of_the_oldest_finished_files_may_have_been_moved_away(path: Path) -> None:
    topic = FakeTopic(METRICS, {0: 0, 1: 0})
    before, of_the_day = sorted(path.parent.glob("metrics-*"))
    found, moved_away = await compared(path, topic)
    assert (found.differences, found.verified, moved_away) == ([], 6, 0)
    name = of_the_day.rename(path.parent / "elsewhere")
    found, moved_away = await compared(path, topic)
    assert (len(found.differences), moved_away) == (6, 0), "an older file is still there"
    before.unlink()
    found, moved_away = await compared(path, topic)
    assert (found.differences, found.verified, found.only_in_topic, moved_away) == ([], 0, 6, 6)
    lines = name.read_bytes().splitlines(keepends=True)
    of_the_day.write_bytes(b"".join(lines[2:5]))
    found, moved_away = await compared(path, topic)
    assert [each.product_id for each in found.differences] == ["prod-2"], (
        "its second line is there, its last one is not"
    )
    assert moved_away == 2, "the first ones may have been in another file"


async def test_metrics_of_the_live_file_are_not_taken_for_moved_away(path: Path) -> None:
    for finished in path.parent.glob("metrics-*"):
        finished.unlink()
    os.truncate(path, 0)
    next_day = parse_span("2026-11-28")
    found = await _topic_metrics(cast(Any, FakeTopic(METRICS, {0: 0, 1: 0})), TOPIC, next_day, Skipped(), lambda: 0)
    assert len(_compare(found, Outputs(path, None), next_day).reconciliation.differences) == 6


async def test_an_idle_partition_of_product_metrics_excuses_no_metric_of_another_one(path: Path) -> None:
    """prod-1 is no longer sold; a metric of prod-2 is missing from the topic."""
    records = {0: [], 1: [*METRICS[1][:4], *METRICS[1][5:]]}
    found, _ = await compared(path, FakeTopic(records, {0: 9, 1: 0}))
    assert [(each.product_id, each.window_start) for each in found.differences if each.product_id == "prod-2"] == [
        ("prod-2", starts(0)[1])
    ]
    assert len(found.differences) == 4, "nor those of its own that are younger than the retention"


async def test_a_missing_file_is_reported_with_an_option_of_the_report(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as raised:
        await compared(tmp_path / "metrics.json", FakeTopic(METRICS, {0: 0, 1: 0}))
    assert "--outputs" in (raised.value.advice or "")
    assert "--source" not in (raised.value.advice or "")
