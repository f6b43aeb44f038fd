"""A period is complete when no order can be added to its windows any more, whether or not event time advances."""

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import orjson
import pytest

from daily_report.closed_windows import newest_watermark_s, wait_until_closed
from daily_report.span import parse_span
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, Watermark, encode_watermark
from libs.runtime.errors import PipelineError
from tests.unit.driver import FakeRecord
from verification.topic_reader import Offsets, TopicReader

HOUR = parse_span("2026-11-27T14")


class FakeReader:
    """Topics of one partition; a group that is not named has read everything."""

    def __init__(self, processed: list[FakeRecord], **committed: int) -> None:
        self.topics = {"processed-orders": processed, "orders": [FakeRecord(b"{}", offset=0)] * 5}
        self.groups = committed

    async def begins(self, topic: str) -> Offsets:
        return {0: 0}

    async def ends(self, topic: str) -> Offsets:
        return {0: len(self.topics[topic])}

    async def settled_ends(self, topic: str) -> Offsets:
        return await self.ends(topic)

    async def record_ends(self, topic: str, ends: Offsets) -> Offsets:
        return ends

    async def committed(self, group: str, topic: str) -> Offsets:
        return {0: self.groups.get(group, len(self.topics[topic]))}

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Offsets:
        later = (i for i, record in enumerate(self.topics[topic]) if record.timestamp >= timestamp_ms)
        return {0: next(later, len(self.topics[topic]))}

    async def read(
        self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncIterator[list[FakeRecord]]:
        yield self.topics[topic][begins[0] : ends[0]]


def reader(processed: list[FakeRecord], **committed: int) -> TopicReader:
    return cast(TopicReader, FakeReader(processed, **committed))


def order(event_s: float, arrived_s: float | None = None) -> FakeRecord:
    fields = {"product_id": "p", "amount": 1.5, "timestamp": event_s}
    arrived_ms = int((event_s if arrived_s is None else arrived_s) * 1000)
    return FakeRecord(orjson.dumps(fields), b"p", tuple(ORDER_HEADERS), timestamp=arrived_ms)


def mark(watermark_s: float, sources: tuple[int, ...] = (0,), count: int = 1) -> FakeRecord:
    value = encode_watermark(Watermark(sources, count, watermark_s))
    return FakeRecord(value, None, tuple(WATERMARK_HEADERS), timestamp=int(watermark_s * 1000))


async def obstacle(processed: list[FakeRecord], **committed: int) -> str:
    try:
        await wait_until_closed(reader(processed, **committed), "", HOUR, 60, -1.0, lambda _: None)
    except PipelineError as error:
        return str(error)
    return ""


IN = HOUR.from_s + 1800


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daily_report.closed_windows._MOMENT_S", -1.0)


async def test_event_time_beyond_the_last_window_is_enough() -> None:
    assert not await obstacle([order(IN), mark(HOUR.to_s)], processor=0)
    assert "event time has come to 2026-11-27 14:59:59Z" in await obstacle([order(HOUR.to_s - 1), mark(HOUR.to_s - 1)])


@pytest.mark.parametrize(
    ("processed", "complete"),
    [
        ([order(IN), mark(IN + 60)], True),  # at rest: the only window is closed
        ([order(IN, IN - 59), mark(IN - 30)], False),  # ahead of its arrival, and open
        ([order(IN), mark(IN + 60), order(IN + 90)], False),
        ([order(IN), mark(IN + 60), order(HOUR.to_s)], True),  # open, but in the next hour
        ([order(HOUR.from_s - 1), mark(HOUR.from_s - 100)], True),  # open, but in the hour before
        ([order(IN)], False),  # no watermark at all
        ([], True),
        ([mark(IN + 60), FakeRecord(b"no order", timestamp=int(IN + 70) * 1000)], True),  # another program's
        ([order(IN), mark(IN + 60, (0,), 2)], False),  # one source has no watermark yet
        ([order(IN), mark(IN + 60, (0,), 2), mark(IN + 90, (1,), 2)], True),
    ],
)
async def test_event_time_at_rest_without_open_windows_is_enough(
    processed: list[FakeRecord], *, complete: bool
) -> None:
    found = await obstacle(processed)
    assert found == "" if complete else "it has open windows" in found, found


async def test_a_stage_with_unread_records_is_named() -> None:
    processed = [order(IN), mark(IN + 60)]
    assert "the processor has yet to read 3 of the orders" in await obstacle(processed, processor=2)
    assert "the analytics has yet to read 1 of its records" in await obstacle(processed, analytics=1)
    assert "the analytics has yet to read 1 of its records" in await obstacle([order(IN), mark(HOUR.to_s)], analytics=1)


class PartitionsVisibleOneByOne(FakeReader):
    """Two partitions; the second one shows the records of the first one's transaction a moment later."""

    looks = 0

    async def begins(self, topic: str) -> Offsets:
        return {0: 0, 1: 0} if topic == "processed-orders" else await super().begins(topic)

    async def settled_ends(self, topic: str) -> Offsets:
        self.looks += 1
        return {0: len(self.topics[topic]), 1: 0 if self.looks == 1 else 2}

    async def committed(self, group: str, topic: str) -> Offsets:
        return await super().committed(group, topic) | {1: self.groups["analytics_second"]}


@pytest.mark.parametrize(("read", "obstacle"), [(0, "the analytics has yet to read 2 of its records"), (2, "")])
async def test_all_records_before_the_watermark_must_be_read(read: int, obstacle: str) -> None:
    fake = cast(TopicReader, PartitionsVisibleOneByOne([mark(HOUR.to_s)], analytics_second=read))
    found = ""
    try:
        await wait_until_closed(fake, "", HOUR, 60, -1.0, lambda _: None)
    except PipelineError as error:
        found = str(error)
    assert obstacle in found
    assert bool(found) == bool(obstacle)


@pytest.mark.parametrize("between", [0, 255, 256, 5000])
async def test_the_newest_watermark_is_found_however_far_back(between: int) -> None:
    fakes = [mark(IN, (0,), 2), mark(IN + 3, (1,), 2), *[order(IN)] * between, mark(IN + 5, (0,), 2)]
    assert await newest_watermark_s(reader(fakes), "processed-orders", {0: len(fakes)}) == IN + 3
    assert await newest_watermark_s(reader([order(IN)]), "processed-orders", {0: 1}) == -math.inf


async def test_the_wait_ends_as_soon_as_the_period_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeReader([order(IN), mark(IN + 30)])
    messages: list[Any] = []

    def progress(message: str) -> None:
        messages.append(message)
        fake.topics["processed-orders"] = [order(IN), mark(IN + 30), mark(IN + 60)]

    await wait_until_closed(cast(TopicReader, fake), "", HOUR, 60, 60, progress)
    assert messages == ["waiting: it has open windows; event time has come to 2026-11-27 14:30:30Z"]
