"""Finished files may be moved away: the oldest metrics are then not verified, and any other one is missing."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from libs.events.product_metrics import ProductMetric, encode_metric
from services.sink.file.finished_files import Span
from services.sink.file.metrics_file import MetricsFile
from services.sink.file.rotate_setting import Rotate
from services.sink.record_batcher import Position
from verification.history import History
from verification.metrics_topic import MetricsTopic
from verification.outputs import OutputComparison
from verification.report import Damage, NotVerified, Report

DAY = 86_400 * 19_676
TOPIC = "mine.product-metrics"
ENDS = {0: 4, 1: 4}


def start_s_of(offset: int) -> int:
    """Two metrics of each partition are of the first day, one each of the next two."""
    return DAY + [0, 60, 86_400, 2 * 86_400][offset]


def encoded(partition: int, offset: int) -> bytes:
    start_s = start_s_of(offset)
    return encode_metric(ProductMetric(start_s, start_s + 60, f"prod-{partition}", 1, 100))


class Topic:
    """A reader of ``product-metrics``, all of which the sink has read."""

    async def ends(self, topic: str) -> dict[int, int]:
        return ENDS

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return ENDS

    async def read(self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[list[Any]]:
        for partition, end in ends.items():
            assert end <= ENDS[partition], "nothing comes after the end"
            offsets = range(begins.get(partition, 0), end)
            yield [
                SimpleNamespace(
                    partition=partition,
                    offset=offset,
                    key=b"prod-%d" % partition,
                    value=encoded(partition, offset),
                )
                for offset in offsets
            ]


def written(folder: Path, rotate: Rotate | None) -> Path:
    """The sink's files, with a write for each metric."""
    path = folder / "metrics.json"
    file = MetricsFile(path, TOPIC, rotate=rotate)
    assert file.acquire()
    file.open("cluster")
    for offset in range(4):
        for partition in range(2):
            span = Span(start_s_of(offset), start_s_of(offset)) if rotate else None
            file.write([encoded(partition, offset)], {partition: Position(offset + 1, 0)}, span)
    file.close()
    return path


async def compared(path: Path) -> Report:
    report = Report()
    topic = MetricsTopic(cast(Any, Topic()), TOPIC, 60)
    metrics = await topic.metrics({}, ENDS, report)
    history = History(begins={"product-metrics": {0: 0, 1: 0}})
    await OutputComparison(topic, "mine.", 0.0, lambda _: None, report, history).check(
        path, None, metrics, ENDS, time.monotonic()
    )
    return report


def finished(path: Path) -> list[Path]:
    """The files of the first and the second day."""
    return sorted(path.parent.glob("metrics-*"))


async def test_nothing_is_left_out_while_all_files_are_there(tmp_path: Path) -> None:
    report = await compared(written(tmp_path, Rotate(by_day=True)))
    assert (report.damage, report.not_verified, report.lines) == ({}, {}, 8)


@pytest.mark.parametrize(("moved", "metrics"), [(1, 4), (2, 6)])
async def test_the_metrics_of_the_oldest_files_are_not_verified(moved: int, metrics: int, tmp_path: Path) -> None:
    path = written(tmp_path, Rotate(by_day=True))
    for file in finished(path)[:moved]:
        file.rename(tmp_path / f"elsewhere-{file.name}")
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({}, {NotVerified.LINE: metrics})


async def test_a_missing_file_between_others_is_lost(tmp_path: Path) -> None:
    path = written(tmp_path, Rotate(by_day=True))
    finished(path)[1].unlink()
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({Damage.LINE_MISSING: 2}, {})


async def test_metrics_of_the_live_file_are_lost_even_if_all_others_were_moved_away(tmp_path: Path) -> None:
    path = written(tmp_path, Rotate(by_day=True))
    for file in finished(path):
        file.unlink()
    path.write_bytes(b"")
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({Damage.LINE_MISSING: 2}, {NotVerified.LINE: 6})


async def test_a_lost_line_behind_a_moved_file_is_lost(tmp_path: Path) -> None:
    path = written(tmp_path, Rotate(by_day=True))
    first, second = finished(path)
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:2]))  # of each partition the first one
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({Damage.LINE_MISSING: 2}, {})
    assert second.exists()


@pytest.mark.parametrize("checkpoint", [None, b"?", b"[]", b'{"topic":"another","begins":{"0":{"next_offset":3}}}'])
async def test_without_the_sinks_checkpoint_nothing_is_left_out(checkpoint: bytes | None, tmp_path: Path) -> None:
    path = written(tmp_path, Rotate(by_day=True))
    finished(path)[0].unlink()
    of_sink = path.with_name("metrics.json.checkpoint")
    of_sink.unlink() if checkpoint is None else of_sink.write_bytes(checkpoint)
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({Damage.LINE_MISSING: 4}, {})


async def test_without_rotation_the_first_lines_are_lost(tmp_path: Path) -> None:
    path = written(tmp_path, None)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[4:]))
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({Damage.LINE_MISSING: 4}, {})


async def test_a_checkpoint_from_before_the_topic_was_recreated_leads_to_no_wait(tmp_path: Path) -> None:
    """Its offsets are past the topic's end."""
    path = written(tmp_path, Rotate(by_day=True))
    of_sink = path.with_name("metrics.json.checkpoint")
    begins = {str(partition): {"next_offset": 100} for partition in range(3)}
    of_sink.write_bytes(json.dumps({"topic": TOPIC, "begins": begins}).encode())
    report = await compared(path)
    assert (report.damage, report.not_verified) == ({}, {})
