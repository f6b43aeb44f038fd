"""What a stage that is behind has not read is neither lost nor wrong; what it has read is verified as ever."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, Watermark, encode_watermark
from libs.runtime.records import Headers
from verification.reference_processor import ReferenceProcessor
from verification.report import Damage, Report
from verification.verify import _Run

START = 1_700_000_040
LAMP = {"product_name": "Lamp"}

ORDERS = [
    {"order_id": f"o{i}", "user_id": "u", "product_id": "prod-1", "amount": 10.0, "timestamp": START + i}
    for i in range(3)
]


def record(value: bytes, headers: Headers | None = None, key: bytes | None = b"prod-1") -> dict[str, Any]:
    return {"value": value, "headers": headers or [], "key": key}


def metric(orders: int) -> dict[str, Any]:
    return record(encode_metric(ProductMetric(START, START + 60, "prod-1", orders, orders * 1000)))


SENT = [record(json.dumps(order).encode()) for order in ORDERS]
DONE = [record(json.dumps(order | LAMP).encode(), ORDER_HEADERS) for order in ORDERS]
PASSED = record(encode_watermark(Watermark((0,), 1, START + 60.0)), WATERMARK_HEADERS, None)


class Topics:
    """A reader of topics with one partition each."""

    def __init__(self, records: Mapping[str, Sequence[dict[str, Any]]], committed: Mapping[str, int]) -> None:
        self._committed = committed
        self._records = {
            topic: [
                SimpleNamespace(partition=0, offset=offset, timestamp=(START + 200) * 1000, timestamp_type=1, **each)
                for offset, each in enumerate(of_topic)
            ]
            for topic, of_topic in records.items()
        }

    async def begins(self, topic: str) -> dict[int, int]:
        return {0: 0}

    async def ends(self, topic: str) -> dict[int, int]:
        return {0: len(self._records.get(topic, ()))}

    settled_ends = ends

    async def record_ends(self, topic: str, ends: dict[int, int]) -> dict[int, int]:
        return ends

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return {0: self._committed[group]} if group in self._committed else {}

    async def first_record(self, topic: str, partition: int, begin: int, end: int) -> Any:
        return self._records[topic][begin] if begin < end else None

    async def read(self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[list[Any]]:
        if found := self._records.get(topic, [])[begins.get(0, 0) : ends[0]]:
            yield found


async def verified(
    committed: Mapping[str, int],
    processed: Sequence[dict[str, Any]] = (),
    late: Sequence[dict[str, Any]] = (),
    metrics: Sequence[dict[str, Any]] = (),
) -> Report:
    records = {"orders": SENT, "processed-orders": processed, "late-orders": late, "product-metrics": metrics}
    reader, reference = cast(Any, Topics(records, committed)), ReferenceProcessor({"prod-1": LAMP})
    return await _Run(reader, "", 60, 0.0, reference, lambda _: None, None).all(None, None, None)


@pytest.mark.parametrize(
    ("processor", "analytics", "outputs"),
    [
        pytest.param(0, None, {}, id="the processor has never run"),
        pytest.param(1, 1, {"processed": DONE[:1]}, id="the processor has stopped"),
        pytest.param(1, 3, {"processed": DONE}, id="the processor goes on after it was waited for"),
        pytest.param(3, None, {"processed": [*DONE, PASSED]}, id="the analytics has never run"),
        pytest.param(3, 2, {"processed": [*DONE, PASSED]}, id="the analytics has stopped before the watermark"),
        pytest.param(
            3,
            3,
            {"processed": [*DONE[:2], PASSED, DONE[2]], "metrics": [metric(2)]},
            id="the analytics has stopped before a late order",
        ),
        pytest.param(
            3,
            3,
            {"processed": [*DONE[:2], PASSED, DONE[2]], "late": DONE[2:], "metrics": [metric(2)]},
            id="the analytics goes on after it was waited for",
        ),
    ],
)
async def test_a_stage_that_is_behind_is_not_reported_as_loss(
    processor: int, analytics: int | None, outputs: dict[str, Any]
) -> None:
    committed = {"processor": processor} | ({} if analytics is None else {"analytics": analytics})
    assert (await verified(committed, **outputs)).damage == {Damage.BEHIND: 1}


async def test_nothing_is_found_once_both_have_read_everything() -> None:
    outputs = {"processed": [*DONE[:2], PASSED, DONE[2]], "late": DONE[2:], "metrics": [metric(2)]}
    report = await verified({"processor": 3, "analytics": 4}, **outputs)
    assert (report.damage, report.accepted, report.in_closed_windows, report.late) == ({}, 3, 2, 1)


async def test_an_order_that_the_processor_has_read_is_lost() -> None:
    report = await verified({"processor": 2, "analytics": 1}, DONE[:1])
    assert report.damage == {Damage.BEHIND: 1, Damage.LOST: 1}


async def test_a_metric_lacks_an_order_that_the_analytics_has_read() -> None:
    report = await verified({"processor": 3, "analytics": 3}, [*DONE[:2], PASSED, DONE[2]], metrics=[metric(1)])
    assert report.damage == {Damage.BEHIND: 1, Damage.WINDOW_WRONG: 1}


async def test_lost_offsets_excuse_nothing() -> None:
    """They have expired, for example: the outputs show that the stages have run."""
    report = await verified({}, [*DONE[:2], PASSED], metrics=[metric(2)])
    assert report.damage == {Damage.BEHIND: 2, Damage.LOST: 1, Damage.WINDOW_WRONG: 1}
